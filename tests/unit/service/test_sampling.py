"""Tokens are drawn as the distribution says, and stop texts never get out."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnserve.engine.sampling import Sampler, Sampling, StopGate
from rnnserve.errors import Reason, Refusal

LOGITS = np.log(np.array([0.5, 0.25, 0.15, 0.1], np.float32))


def shares(draws: int = 20_000, **sampling) -> np.ndarray:
    sampler = Sampler(Sampling(seed=11, **sampling))
    return np.bincount([sampler.draw(LOGITS) for _ in range(draws)], minlength=4) / draws


@pytest.mark.parametrize(
    ("sampling", "wanted"),
    [
        ({}, [0.5, 0.25, 0.15, 0.1]),
        ({"temperature": 0.0}, [1, 0, 0, 0]),
        ({"temperature": 0.5}, np.array([0.25, 0.0625, 0.0225, 0.01]) / 0.345),
        ({"top_k": 2}, [2 / 3, 1 / 3, 0, 0]),
        ({"top_p": 0.6}, [2 / 3, 1 / 3, 0, 0]),
        ({"top_p": 1e-6}, [1, 0, 0, 0]),
        ({"top_k": 100}, [0.5, 0.25, 0.15, 0.1]),
    ],
)
def test_tokens_come_as_often_as_their_probability_says(sampling, wanted):
    # 20,000 draws: a share is off by more than 0.016 less than once in 100,000 seeds.
    np.testing.assert_allclose(shares(**sampling), wanted, atol=0.016)


def test_the_same_seed_draws_the_same_tokens_and_another_seed_others():
    def draws(seed: int) -> list[int]:
        sampler = Sampler(Sampling(seed=seed))
        return [sampler.draw(LOGITS) for _ in range(50)]

    assert draws(1) == draws(1) != draws(2)


@given(
    # onnxruntime's set_denormal_as_zero holds for the whole thread, in tests too.
    logits=st.lists(st.floats(-1e4, 1e4, width=32, allow_subnormal=False), min_size=1, max_size=50),
    seed=st.integers(0, 2**32 - 1),
    temperature=st.floats(0, 100, allow_subnormal=False),
    top_k=st.integers(0, 60),
    top_p=st.floats(0.001, 1),
)
def test_whatever_the_logits_a_token_of_the_vocabulary_is_drawn(
    logits, seed, temperature, top_k, top_p
):
    if 0 < temperature < 1e-3:
        temperature = 1e-3
    sampler = Sampler(Sampling(seed=seed, temperature=temperature, top_k=top_k, top_p=top_p))
    array = np.array(logits, np.float32)
    token = sampler.draw(array)
    assert 0 <= token < len(logits)
    if top_k:
        assert (array > array[token]).sum() < top_k


@pytest.mark.parametrize(
    "bad",
    [
        {"temperature": -0.1},
        {"temperature": float("nan")},
        {"temperature": float("inf")},
        {"top_p": 0.0},
        {"top_p": 1.1},
        {"max_tokens": 0},
        {"stop": ("",)},
    ],
)
def test_sampling_that_means_nothing_is_refused_by_name(bad):
    with pytest.raises(Refusal) as error:
        Sampling(seed=0, **bad)
    assert error.value.reason is Reason.BAD_SAMPLING
    assert error.value.facts["field"] == next(iter(bad))


@given(
    text=st.text("ab", max_size=30),
    cuts=st.lists(st.integers(0, 30), max_size=6),
    stop=st.lists(st.text("ab", min_size=1, max_size=4), max_size=3),
)
def test_text_ends_before_the_first_stop_text_however_it_comes(text, cuts, stop):
    gate, out = StopGate(tuple(stop)), ""
    edges = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    for start, end in pairwise(edges):
        if not gate.stopped:
            out += gate.push(text[start:end])
    out += gate.flush()
    # What a character at a time would have given: the stop text that is complete first.
    ends = [at + len(s) for s in stop if (at := text.find(s)) >= 0]
    if not ends:
        assert (out, gate.stopped) == (text, False)
    else:
        assert gate.stopped
        assert not any(s in out for s in stop)
        assert text.startswith(out)
