"""What a load's figures say about made-up rows, and what shares of a plan add up to."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnserve_bench.errors import BenchProblem
from rnnserve_bench.traffic.book import NEVER, NO_ANSWER, NOT_SENT, Book, Rows
from rnnserve_bench.traffic.draws import Lengths
from rnnserve_bench.traffic.plan import Plan
from rnnserve_bench.traffic.rate import Rate
from rnnserve_bench.traffic.summary import series, summarise


def stalled(stall_s: float) -> Rows:
    """A step every 10 ms for 10 s, each served in 1 ms, but nothing is from second 4 on."""
    book = Book()
    for number in range(1000):
        due_s = number / 100
        sent_s = 4 + stall_s if 4 <= due_s < 4 + stall_s else due_s
        book.add(due_s, due_s, sent_s, sent_s + 0.001, 1, "answered")
    return book.rows()


def test_a_stall_is_in_the_latency_of_all_that_it_kept_waiting():
    summary = summarise(stalled(1.0), 0, 10, (0.1,))
    assert summary.latency_ms.most == pytest.approx(1001)
    assert summary.latency_ms.p99 > 890  # a tenth of the steps were due while it lasted
    assert summary.served_ms.most == pytest.approx(1)
    assert summary.waited_share == pytest.approx(0.1)
    (silence,) = summary.warnings
    assert silence.startswith("For 1.0 of 10.0 s")


def test_reasons_are_told_apart_and_the_warm_up_is_left_out():
    book = Book()
    book.add(0.5, 0.5, 0.5, 0.6, 1, "overloaded")
    book.add(1.5, 1.5, 1.5, 1.6, 4, "answered")
    book.add(1.6, 1.6, 1.6, 1.602, 1, "overloaded")
    book.add(1.7, 1.7, 1.7, NEVER, 1, NO_ANSWER)
    book.add(1.8, 1.8, NEVER, NEVER, 0, NOT_SENT)
    summary = summarise(book.rows(), 1, 2, (0.1,))
    assert (summary.due, summary.answered, summary.error_share) == (4, 1, 0.75)
    assert summary.reasons == {"overloaded": 1, NO_ANSWER: 1, NOT_SENT: 1}
    assert summary.refused_ms.most == pytest.approx(2)
    assert summary.answered_steps_s == 4
    assert "never sent" in summary.warnings[0]


def test_a_late_or_busy_generator_is_said():
    book = Book()
    for number in range(100):
        book.add(number, number + 0.02, number + 0.02, number + 0.03, 1, "answered")
    late, busy = summarise(book.rows(), 0, 100, (0.3, 0.97)).warnings
    assert "late" in late
    assert "97%" in busy


def test_nothing_at_all_has_figures_too():
    summary = summarise(Rows.joined([Book().rows()]), 0, 1, ())
    assert (summary.due, summary.latency_ms, summary.error_share) == (0, None, 0)


def test_joined_rows_keep_their_outcomes():
    one, other = Book(), Book()
    one.add(0, 0, 0, 1, 1, "too_late")
    one.add(0, 0, 0, 1, 1, "answered")
    other.add(0, 0, 0, 1, 1, "overloaded")
    joined = Rows.joined([one.rows(), other.rows()])
    assert {name: len(joined.of(name)) for name in joined.outcomes} == {
        "answered": 1,
        "overloaded": 1,
        "too_late": 1,
    }


@settings(deadline=None, max_examples=40)
@given(st.floats(0.5, 100), st.integers(1, 300))
def test_a_series_has_every_row_once(span_s, count):
    book = Book()
    for due_s in np.linspace(0, span_s * 0.999, count):
        book.add(due_s, due_s, due_s, due_s, 1, "answered")
    by_time = series(book.rows(), span_s)
    assert sum(by_time.due) * by_time.slice_s == pytest.approx(count)
    assert len(by_time.p50_ms) == len(by_time.due) == len(by_time.end_s)
    assert by_time.end_s[-1] >= span_s * 0.999


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 9), st.integers(1, 8), st.integers(1, 60), st.floats(1, 1000))
def test_shares_of_a_plan_are_the_whole(workers, frame, more, rate):
    groups = workers + more
    plan = Plan("", "m", sessions=groups * frame, frame=frame, rate=Rate.steady(rate, 10))
    shares = [plan.share(place, workers) for place in range(workers)]
    assert sum(share.sessions for share in shares) == plan.sessions
    assert sum(share.rate.count for share in shares) == pytest.approx(rate * 10)
    assert all(share.streams <= share.groups for share in shares)
    assert len({share.seed for share in shares}) == workers


@pytest.mark.parametrize(
    ("text", "choices"), [("64", (64,)), ("1,1,64", (1, 1, 64)), ("2..4,9", (2, 3, 4, 9))]
)
def test_lengths_are_what_their_text_says(text, choices):
    assert Lengths.parse(text).choices == choices


@pytest.mark.parametrize("text", ["", "0", "4..1", "a", "1,,2", "-3"])
def test_a_text_that_is_no_length_is_refused(text):
    with pytest.raises(BenchProblem, match="--chunk"):
        Lengths.parse(text)
