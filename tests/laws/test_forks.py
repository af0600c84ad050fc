"""Law 8: a fork and its parent go their own ways; export then import continues as if nothing had
happened; a carry may be given, and begin anew."""

from itertools import chain

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from laws.mirror import agree, carry_of
from rnnserve.engine import initial
from rnnserve.engine.batcher import BatchLimits
from rnnserve.errors import Reason, Refusal
from small_models import V
from synchronous_engine import SynchronousEngine, logits

law = settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
tokens = st.integers(0, V - 1)
chunk = st.lists(tokens, min_size=1, max_size=12)
chunks = st.lists(chunk, min_size=1, max_size=4)
blocks = st.builds(
    BatchLimits, max_rows=st.sampled_from([1, 2, 64]), max_block_steps=st.sampled_from([1, 4])
)
seeds = st.integers(0, 2**32 - 1)


def joined(cuts) -> list[int]:
    return list(chain.from_iterable(cuts))


def submitted(engine: SynchronousEngine, session: str, index: int, cuts) -> list[list]:
    """Submit the chunks one behind the other; their outcomes."""
    outcomes = []
    for cut in cuts:
        outcomes.append(engine.submit(session, index, cut))
        index += len(cut)
    return outcomes


def answers(outcomes: list[list]) -> np.ndarray:
    return np.concatenate([logits(outcome) for outcome in outcomes])


@law
@given(before=chunks, after=chunks, ways=st.lists(chunk, min_size=1, max_size=5), limits=blocks)
def test_forks_behind_steps_under_way_and_their_parent_go_their_own_ways(
    model, expected, before, after, ways, limits
):
    engine = SynchronousEngine(model, batches=limits)
    parent, index = engine.open(), len(joined(before))
    earlier = submitted(engine, parent, 0, before)
    told = engine.fork(parent, len(ways), index)
    later = submitted(engine, parent, index, after)
    assert told == []
    engine.run_all()
    ((forks, at),) = told
    assert (len(set(forks)), at) == (len(ways), index)
    going = [engine.submit(fork, at, way) for fork, way in zip(forks, ways, strict=True)]
    engine.run_all()
    agree(np.concatenate([answers(earlier), answers(later)]), expected(joined(before + after)))
    for outcome, way in zip(going, ways, strict=True):
        agree(logits(outcome), expected(joined(before) + way)[index:])
    assert engine.audit() == []


@law
@given(first=chunk, second=chunk, third=chunk)
def test_a_fork_outlives_its_parent_and_is_forked_again(model, expected, first, second, third):
    engine = SynchronousEngine(model)
    parent = engine.open()
    engine.step(parent, 0, first)
    (((child,), _),) = engine.fork(parent)
    engine.close(parent)
    stranger = engine.open()  # in the slot that the parent had
    engine.step(stranger, 0, third)
    agree(engine.step(child, len(first), second), expected(first + second)[len(first) :])
    (((grandchild,), at),) = engine.fork(child)
    assert at == len(first + second)
    agree(engine.step(grandchild, at, third), expected(first + second + third)[at:])
    assert engine.audit() == []


@law
@given(before=chunks, between=chunks, after=chunk, limits=blocks)
def test_export_then_import_continues_as_if_nothing_had_happened(
    model, expected, before, between, after, limits
):
    """In the same engine and in another one, whatever the exported session did meanwhile."""
    engine, other = SynchronousEngine(model, batches=limits), SynchronousEngine(model)
    session, index = engine.open(), len(joined(before))
    submitted(engine, session, 0, before)
    told = engine.export(session, index)
    submitted(engine, session, index, between)
    engine.run_all()
    ((blob, at),) = told
    assert at == index
    for home in (engine, other):
        stranger, again = home.open(), home.restore(blob)
        home.step(stranger, 0, after)
        agree(home.step(again, index, after), expected(joined(before) + after)[index:])
        assert home.audit() == []
    onward = index + len(joined(between))
    wanted = expected(joined(before + between) + after)[onward:]
    agree(engine.step(session, onward, after), wanted)


@law
@given(before=chunks, after=chunks, seed=seeds, anew=st.booleans(), limits=blocks)
def test_after_a_reset_mid_stream_the_answers_are_those_of_a_fresh_carry(
    model, before, after, seed, anew, limits
):
    engine = SynchronousEngine(model, batches=limits)
    carry = initial.random(model.spec, seed) if anew else None
    session, index = engine.open(), len(joined(before))
    submitted(engine, session, 0, before)
    told = engine.reset(session, index, carry)
    later = submitted(engine, session, index, after)
    engine.run_all()
    assert told == [index]
    _, wanted = model.reference(carry_of(model, carry), np.array([joined(after)]))
    agree(answers(later), wanted[0])
    assert engine.steps(session) == index + len(joined(after))
    assert engine.audit() == []


@law
@given(cuts=chunks, seed=seeds)
def test_a_session_begins_with_the_carry_it_is_given(model, cuts, seed):
    engine = SynchronousEngine(model)
    carry = initial.random(model.spec, seed)
    raw = [array.astype(array.dtype.newbyteorder("<")).tobytes() for array in carry]
    zeros, given = engine.open(), engine.open(initial.given(model.spec, raw))
    found = submitted(engine, given, 0, cuts)
    beside = submitted(engine, zeros, 0, cuts)
    engine.run_all()
    for outcomes, rows in ((found, carry), (beside, None)):
        _, wanted = model.reference(carry_of(model, rows), np.array([joined(cuts)]))
        agree(answers(outcomes), wanted[0])


@pytest.mark.parametrize("operation", ["reset", "fork", "export"])
def test_an_operation_at_another_index_is_refused_and_changes_nothing(model, expected, operation):
    engine = SynchronousEngine(model)
    session = engine.open()
    engine.step(session, 0, [1, 2, 3])
    for index, reason in ((2, Reason.INDEX_PAST), (4, Reason.INDEX_GAP)):
        match operation:
            case "reset":
                (refusal,) = engine.reset(session, index)
            case "fork":
                (refusal,) = engine.fork(session, 2, index)
            case _:
                (refusal,) = engine.export(session, index)
        assert isinstance(refusal, Refusal)
        assert (refusal.reason, refusal.facts["expected"]) == (reason, "3")
    assert len(engine.engine.table) == 1
    agree(engine.step(session, 3, [4]), expected([1, 2, 3, 4])[3:])
