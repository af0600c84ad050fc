"""When an open loop sends: laws of the moments, for every rate."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnserve_bench.errors import BenchProblem
from rnnserve_bench.traffic.rate import Rate, Stretch, arrivals

STRETCHES = st.builds(
    Stretch,
    length_s=st.floats(0.1, 20),
    begin=st.floats(0, 300, allow_subnormal=False),
    end=st.floats(0, 300, allow_subnormal=False),
)
RATES = st.lists(STRETCHES, min_size=1, max_size=4).map(lambda parts: Rate(tuple(parts)))


def sent_until(rate: Rate, moment_s: float) -> float:
    """The rate's sum up to a moment, by trapezoids of its own."""
    total = 0.0
    for part in rate.stretches:
        taken_s = min(max(moment_s, 0.0), part.length_s)
        at_end = part.begin + (part.end - part.begin) * taken_s / part.length_s
        total += taken_s * (part.begin + at_end) / 2
        moment_s -= part.length_s
    return total


@settings(deadline=None, max_examples=40)
@given(RATES)
def test_even_arrivals_come_when_the_rates_sum_has_grown_by_one(rate):
    moments = list(arrivals(rate, None))
    assert moments == sorted(moments)
    assert len(moments) == pytest.approx(rate.count, abs=1)
    for number, moment_s in enumerate(moments):
        assert 0 <= moment_s <= rate.duration_s + 1e-6
        assert sent_until(rate, moment_s) == pytest.approx(number + 0.5, abs=1e-3)


@settings(deadline=None, max_examples=40)
@given(RATES, st.integers(2, 4))
def test_workers_that_share_an_even_rate_never_meet_and_miss_nothing(rate, workers):
    whole = list(arrivals(rate, None))
    parts = [
        list(arrivals(rate.scaled(1 / workers), None, (place + 0.5) / workers))
        for place in range(workers)
    ]
    together = sorted(itertools.chain(*parts))
    assert len(together) == pytest.approx(len(whole), abs=workers)
    assert together[: len(whole)] == pytest.approx(whole[: len(together)], abs=1e-6)


def test_poisson_arrivals_have_the_mean_and_the_variance_of_their_law():
    rate = Rate.parse("0..200", 100, 100)
    moments = np.array(list(arrivals(rate, np.random.default_rng(3))))
    counts = np.histogram(moments, np.sqrt(np.linspace(0, 1, 101)) * 100)[0]  # 100 in each
    assert counts.mean() == pytest.approx(100, rel=0.05)
    assert counts.var() == pytest.approx(100, rel=0.5)


def test_the_same_seed_sends_at_the_same_moments():
    rate = Rate.steady(500, 4)
    one, same, other = (list(arrivals(rate, np.random.default_rng(seed))) for seed in (1, 1, 2))
    assert one == same != other


@pytest.mark.parametrize(
    ("text", "moment_s", "expected"),
    [
        ("100", 10, 1000),
        ("0..100", 5, 250),
        ("0..100", 10, 750),
        ("100,200,600", 5, 200 * 5 / 3 + 100 * 10 / 3),
    ],
)
def test_a_rate_is_what_its_text_says(text, moment_s, expected):
    rate = Rate.parse(text, 10, 5)
    assert rate.duration_s == pytest.approx(10)
    assert sent_until(rate, moment_s) == pytest.approx(expected)


@pytest.mark.parametrize("text", ["", "fast", "1..2..3", "-5", "0", "nan", "1,,2", "1..inf"])
def test_a_text_that_is_no_rate_is_refused(text):
    with pytest.raises(BenchProblem, match="--rate"):
        Rate.parse(text, 10, 0)
