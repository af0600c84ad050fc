"""What is not let in, why, and that a refusal leaves everything as it was."""

import numpy as np
import pytest

from rnnserve.engine.backlog import BacklogLimits
from rnnserve.engine.batcher import BatchLimits
from rnnserve.engine.engine import MAX_FORKS
from rnnserve.engine.session import SessionLimits
from rnnserve.engine.table import TableLimits
from rnnserve.errors import Reason, Refusal
from small_models import small_model
from synchronous_engine import SynchronousEngine, logits, steady_costs

MODEL = small_model("gru", 1)
STEP_BYTES = MODEL.spec.step_bytes
CARRY_BYTES = MODEL.spec.carry_bytes
SLOW = BatchLimits(max_rows=4, max_block_steps=4)
"""With a second for every row and step."""


def refusal_of(call, *arguments) -> Refusal:
    with pytest.raises(Refusal) as error:
        call(*arguments)
    return error.value


def slow_engine() -> SynchronousEngine:
    return SynchronousEngine(MODEL, batches=SLOW, costs=steady_costs(SLOW, step_s=1.0))


@pytest.mark.parametrize(
    "limits", [BacklogLimits(max_steps=10), BacklogLimits(max_bytes=10 * STEP_BYTES)]
)
def test_more_than_may_wait_in_all_is_refused_and_nothing_is_counted(limits):
    engine = SynchronousEngine(MODEL, backlog=limits)
    first, second = engine.open(), engine.open()
    waiting = [engine.submit(first, 0, [1] * 4), engine.submit(second, 0, [2] * 4)]
    refusal = refusal_of(engine.submit, first, 4, [3] * 3)
    assert refusal.reason is Reason.OVERLOADED
    assert refusal.retry_after_s
    assert (engine.backlog.steps, engine.backlog.bytes) == (8, 8 * STEP_BYTES)
    assert engine.audit() == []
    waiting.append(engine.submit(first, 4, [3] * 2))  # exactly full is not too much
    assert refusal_of(engine.submit, second, 4, [1]).reason is Reason.OVERLOADED
    engine.run_all()
    assert [len(logits(outcomes)) for outcomes in waiting] == [4, 4, 2]
    assert (engine.backlog.steps, engine.backlog.bytes) == (0, 0)
    assert len(engine.step(second, 4, [1] * 10)) == 10


def test_a_step_that_came_before_is_answered_again_even_when_no_more_are_let_in():
    engine = SynchronousEngine(MODEL, backlog=BacklogLimits(max_steps=2))
    session, other = engine.open(), engine.open()
    before = engine.step(session, 0, [1])
    waiting = engine.submit(other, 0, [1, 2])
    np.testing.assert_array_equal(logits(engine.submit(session, 0, [1])), before)
    joined = engine.submit(other, 0, [1, 2])
    engine.run_all()
    assert waiting == joined


def test_a_longer_wait_is_told_the_more_waits():
    engine = slow_engine()
    engine.backlog.limits = BacklogLimits(max_steps=4)
    session, waits_s = engine.open(), []
    for index in range(4):
        engine.submit(session, index, [1])
        waits_s.append(refusal_of(engine.submit, session, index + 1, [1] * 9).retry_after_s)
    assert all(waits_s)
    assert waits_s == sorted(waits_s)
    assert waits_s[0] < waits_s[-1]


@pytest.mark.parametrize(
    "limits",
    [
        SessionLimits(max_pending_chunks=2),
        SessionLimits(max_pending_bytes=6 * STEP_BYTES),
    ],
)
def test_a_session_has_so_many_chunks_and_bytes_under_way_and_others_are_let_in(limits):
    engine = SynchronousEngine(MODEL, sessions=limits)
    session, other = engine.open(), engine.open()
    waiting = [engine.submit(session, 0, [1] * 3), engine.submit(session, 3, [1] * 3)]
    refusal = refusal_of(engine.submit, session, 6, [1])
    assert refusal.reason is Reason.TOO_MANY_PENDING
    assert refusal.retry_after_s
    waiting.append(engine.submit(other, 0, [1] * 3))
    assert engine.backlog.steps == 9
    engine.run_all()
    engine.step(session, 6, [1])
    assert [len(logits(outcomes)) for outcomes in waiting] == [3, 3, 3]


def test_a_chunk_that_is_alone_may_be_larger_than_what_may_wait_for_one_session():
    engine = SynchronousEngine(MODEL, sessions=SessionLimits(max_pending_bytes=1))
    assert len(engine.step(engine.open(), 0, [1] * 20)) == 20


def test_a_step_is_refused_at_once_where_the_queue_is_too_long_for_its_timeout():
    engine = slow_engine()
    session, hasty = engine.open(), engine.open()
    engine.submit(session, 0, [1] * 8)
    refusal = refusal_of(engine.submit, hasty, 0, [1], 7.0)
    assert refusal.reason is Reason.TOO_LATE
    assert refusal.retry_after_s
    assert engine.backlog.steps == 8
    in_time = engine.submit(hasty, 0, [1], 20.0)
    engine.run_all()
    assert len(logits(in_time)) == 1
    assert engine.audit() == []


def test_a_step_that_is_taken_too_late_is_refused_and_those_behind_it_are_gaps():
    engine = slow_engine()
    session = engine.open()
    engine.step(session, 0, [1])
    late = engine.submit(session, 1, [2], 3.0)
    behind = [engine.submit(session, 2, [3]), engine.submit(session, 3, [4, 5])]
    forked = engine.fork(session)
    engine.now_s = 2.5  # it would take until 3.5
    assert not engine.tick()
    assert refusal_of(logits, late).reason is Reason.TOO_LATE
    for outcomes in behind:
        gap = refusal_of(logits, outcomes)
        assert (gap.reason, gap.facts["expected"]) == (Reason.INDEX_GAP, "1")
    assert forked[0][1] == 1
    assert (engine.backlog.steps, engine.model.waiting_steps) == (0, 0)
    assert engine.audit() == []
    alone = SynchronousEngine(MODEL)
    wanted = alone.step(alone.open(), 0, [1, 2])[1:]
    np.testing.assert_allclose(engine.step(session, 1, [2]), wanted, atol=1e-6)


def test_a_chunk_that_has_begun_is_never_refused_for_being_late():
    engine = slow_engine()
    session = engine.open()
    outcomes = engine.submit(session, 0, [1] * 12, 13.0)
    assert engine.tick()
    engine.now_s = 100.0
    engine.run_all()
    assert len(logits(outcomes)) == 12


def test_a_late_step_leaves_its_batch_and_the_others_run():
    engine = slow_engine()
    sessions = [engine.open() for _ in range(3)]
    outcomes = [
        engine.submit(session, 0, [1], *timeout)
        for session, timeout in zip(sessions, ((), (4.0,), ()), strict=True)
    ]
    engine.now_s = 5.0
    engine.run_all()
    assert engine.notes.batches == [(2, 1)]
    assert refusal_of(logits, outcomes[1]).reason is Reason.TOO_LATE
    assert len(logits(outcomes[0])) == len(logits(outcomes[2])) == 1


def test_all_forks_are_made_or_none():
    engine = SynchronousEngine(MODEL, table=TableLimits(max_sessions=4))
    session = engine.open()
    (refusal,) = engine.fork(session, 4)
    assert (refusal.reason, len(engine.engine.table)) == (Reason.TOO_MANY_SESSIONS, 1)
    assert refusal.retry_after_s
    ((forks, _),) = engine.fork(session, 3)
    assert len(forks) == 3
    assert engine.audit() == []


@pytest.mark.parametrize("count", [-1, 0, MAX_FORKS + 1])
def test_a_number_of_forks_that_makes_no_sense_is_refused(count):
    engine = SynchronousEngine(MODEL)
    session = engine.open()
    assert refusal_of(engine.fork, session, count).reason is Reason.TOO_MANY_FORKS
    assert len(engine.engine.table) == 1


def test_sessions_carry_so_many_bytes_in_all_and_forks_of_them_too():
    limits = TableLimits(max_sessions=100, max_carry_bytes=3 * CARRY_BYTES + 1)
    engine = SynchronousEngine(MODEL, table=limits)
    first, second = engine.open(), engine.open()
    (refusal,) = engine.fork(first, 2)
    assert (refusal.reason, len(engine.engine.table)) == (Reason.NO_CARRY_ROOM, 2)
    engine.fork(first)
    ((blob, _),) = engine.export(first)
    for call, arguments in ((engine.open, ()), (engine.restore, (blob,))):
        refusal = refusal_of(call, *arguments)
        assert (refusal.reason, refusal.facts) == (
            Reason.NO_CARRY_ROOM,
            {"limit": str(limits.max_carry_bytes)},
        )
        assert refusal.retry_after_s
    assert engine.engine.table.carry_bytes == 3 * CARRY_BYTES
    assert engine.audit() == []
    engine.close(second)
    engine.open()


def test_a_server_that_drains_makes_no_session_in_any_way():
    engine = SynchronousEngine(MODEL)
    session = engine.open()
    ((blob, _),) = engine.export(session)
    engine.engine.drain()
    for call, argument in ((engine.fork, session), (engine.restore, blob)):
        refusal = refusal_of(call, argument)
        assert (refusal.reason, refusal.retry_after_s) == (Reason.DRAINING, 1.0)
    assert len(engine.engine.table) == 1
    engine.export(session)
    engine.reset(session, 0)
