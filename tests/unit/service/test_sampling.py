"""Sampling that means nothing is refused, and stop texts never get out."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnserve.engine.sampling import Sampling, StopGate
from rnnserve.errors import Reason, Refusal


@pytest.mark.parametrize(
    "bad",
    [
        {"temperature": -0.1},
        {"temperature": float("nan")},
        {"temperature": float("inf")},
        {"top_p": 0.0},
        {"top_p": 1.1},
        {"max_tokens": 0},
        {"top_k": -1},
        {"stop": ("",)},
        {"stop": ("a",) * 17},
        {"stop": ("a" * 257,)},
        {"stop_tokens": (0,) * 65},
        {"stop_tokens": (3, -1)},
        {"repetition_penalty": 0.0},
        {"repetition_penalty": -1.0},
        {"repetition_penalty": float("inf")},
        {"repetition_penalty": float("nan")},
    ],
)
def test_sampling_that_means_nothing_is_refused_by_name(bad):
    with pytest.raises(Refusal) as error:
        Sampling(seed=0, **bad)
    assert error.value.reason is Reason.BAD_SAMPLING
    assert error.value.facts["field"] == next(iter(bad))


def test_sampling_at_its_limits_is_taken():
    Sampling(seed=0, stop_tokens=(2**40,) * 64, repetition_penalty=1e-9, stop=("a" * 256,) * 16)


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


@given(
    pieces=st.lists(st.text("ab", max_size=4), max_size=8),
    stop=st.lists(st.text("ab", min_size=1, max_size=4), min_size=1, max_size=3),
)
def test_no_more_is_held_back_than_might_begin_a_stop_text(pieces, stop):
    gate, came, out = StopGate(tuple(stop)), "", ""
    for piece in pieces:
        out += gate.push(piece)
        came += piece
        if gate.stopped:
            break
        held = came[len(out) :]
        assert came.startswith(out)
        assert held == "" or any(text.startswith(held) for text in stop)


def test_without_stop_texts_everything_goes_through_at_once():
    gate = StopGate(())
    assert [gate.push(piece) for piece in ("a", "", "bc")] == ["a", "", "bc"]
    assert (gate.flush(), gate.stopped) == ("", False)
