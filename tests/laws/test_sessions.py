"""Laws 1, 2, 3, 4 and 6 on the real engine, against the NumPy equations."""

from dataclasses import dataclass
from itertools import chain

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rnnserve.engine.batcher import BatchLimits
from rnnserve.engine.table import TableLimits
from rnnserve.errors import Reason, Refusal
from small_models import V
from synchronous_engine import SynchronousEngine, failing_on, logits

TOLERANCE = 1e-5
POISON = V - 1

law = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
tokens = st.integers(0, V - 2)
chunk = st.lists(tokens, min_size=1, max_size=40)
chunks = st.lists(chunk, min_size=1, max_size=6)


def joined(cuts) -> list[int]:
    return list(chain.from_iterable(cuts))


def agree(found, wanted) -> None:
    np.testing.assert_allclose(found, wanted, atol=TOLERANCE, rtol=0)


@law
@given(cuts=chunks, max_block_steps=st.sampled_from([1, 4, 64]))
def test_chunking_never_changes_the_answer(model, expected, cuts, max_block_steps):
    engine = SynchronousEngine(model, batches=BatchLimits(max_block_steps=max_block_steps))
    session, index, found = engine.open(), 0, []
    for cut in cuts:
        found.append(engine.step(session, index, cut))
        index += len(cut)
    agree(np.concatenate(found), expected(joined(cuts)))


@dataclass
class Stranger:
    session: str
    sent: list[int]
    waiting: list


@law
@given(
    arrivals=st.lists(st.tuples(st.integers(0, 4), chunk, st.booleans()), max_size=25),
    limits=st.builds(
        BatchLimits, max_rows=st.sampled_from([1, 2, 64]), max_block_steps=st.sampled_from([1, 8])
    ),
)
def test_company_and_order_never_change_the_answer(model, expected, arrivals, limits):
    engine = SynchronousEngine(model, batches=limits)
    strangers = [Stranger(engine.open(), [], []) for _ in range(5)]
    for who, cut, tick in arrivals:
        stranger = strangers[who]
        stranger.waiting.append(engine.submit(stranger.session, len(stranger.sent), cut))
        stranger.sent += cut
        if tick:
            engine.tick()
    engine.run_all()
    for stranger in strangers:
        if stranger.sent:
            found = [logits(outcomes) for outcomes in stranger.waiting]
            agree(np.concatenate(found), expected(stranger.sent))
    assert engine.audit() == []


@law
@given(
    before=chunk,
    poisoned=chunk,
    at=st.integers(0, 40),
    after=chunk,
    others=chunks,
    max_block_steps=st.sampled_from([1, 4]),
)
def test_a_row_that_fails_changes_nothing_for_anyone(
    model, expected, before, poisoned, at, after, others, max_block_steps
):
    run = failing_on(POISON, model.runner().run)
    engine = SynchronousEngine(model, run=run, batches=BatchLimits(max_block_steps=max_block_steps))
    guilty, neighbours = engine.open(), [engine.open() for _ in others]
    engine.step(guilty, 0, before)
    poisoned = [*poisoned[:at], POISON, *poisoned[at:]]
    failed = engine.submit(guilty, len(before), poisoned)
    behind = engine.submit(guilty, len(before) + len(poisoned), after)
    answers = [engine.submit(n, 0, cut) for n, cut in zip(neighbours, others, strict=True)]
    engine.run_all()
    for cut, outcomes in zip(others, answers, strict=True):
        agree(logits(outcomes), expected(cut))
    with pytest.raises(Refusal) as error:
        logits(failed)
    assert error.value.reason is Reason.MODEL_FAILED
    with pytest.raises(Refusal) as error:
        logits(behind)
    assert (error.value.reason, error.value.facts["expected"]) == (
        Reason.INDEX_GAP,
        str(len(before)),
    )
    agree(engine.step(guilty, len(before), after), expected(before + after)[len(before) :])
    assert engine.audit() == []


@law
@given(lives=st.lists(st.tuples(st.integers(0, 2), chunk), min_size=1, max_size=12))
def test_a_slot_used_again_remembers_nothing(model, expected, lives):
    engine = SynchronousEngine(model, table=TableLimits(max_sessions=3))
    open_now: list[str] = [engine.open() for _ in range(3)]
    for place, cut in lives:
        agree(engine.step(open_now[place], 0, cut), expected(cut))
        engine.close(open_now[place])
        open_now[place] = engine.open()
    assert engine.audit() == []


@law
@given(
    cuts=chunks,
    repeats=st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=12),
)
def test_a_chunk_sent_again_advances_once_and_answers_the_same(model, expected, cuts, repeats):
    engine = SynchronousEngine(model)
    session, starts, first, again = engine.open(), [], [], []
    for cut in cuts:
        starts.append(sum(map(len, cuts[: len(starts)])))
        first.append(engine.submit(session, starts[-1], cut))
        for which, tick in repeats:
            if which < len(starts):
                again.append((which, engine.submit(session, starts[which], cuts[which])))
            if tick:
                engine.tick()
    engine.run_all()
    agree(np.concatenate([logits(outcomes) for outcomes in first]), expected(joined(cuts)))
    for which, outcomes in again:
        assert outcomes == first[which]
    assert engine.notes.steps == sum(map(len, cuts))
    assert engine.notes.resends == len(again)
