"""How sessions end: idle and old are told apart, never under work, and no end touches another."""

import numpy as np
import pytest

from heard import Heard
from rnnserve.engine import blob as blobs
from rnnserve.engine import table as tables
from rnnserve.engine.generation import Verdict
from rnnserve.engine.meter import Cause
from rnnserve.engine.session import SessionLimits
from rnnserve.engine.table import TableLimits
from rnnserve.errors import Reason, Refusal
from small_models import V, small_model
from synchronous_engine import SynchronousEngine, failing_on, logits

MODEL = small_model("gru", 1)
POISON = V - 1


def reason_of(engine: SynchronousEngine, session: str) -> Reason:
    """Why a session takes no step any more."""
    with pytest.raises(Refusal) as error:
        engine.submit(session, 0, [1])
    return error.value.reason


def aged(**more) -> SynchronousEngine:
    """Sessions live for 10 seconds, and idle for 100."""
    return SynchronousEngine(MODEL, table=TableLimits(idle_timeout_s=100, max_life_s=10), **more)


@pytest.mark.parametrize("looked_after", [True, False])
def test_a_session_that_is_too_old_says_so_however_much_it_is_used(looked_after):
    engine = aged()
    session = engine.open()
    for second in range(1, 10):
        engine.now_s = float(second)
        engine.step(session, second - 1, [1])
    engine.now_s = 10.0
    if looked_after:
        assert engine.engine.table.expire() == 1
    assert reason_of(engine, session) is Reason.SESSION_TOO_OLD
    assert engine.notes.ends == [Cause.LIFE]
    assert engine.audit() == []


def test_idle_and_old_are_told_apart():
    engine = SynchronousEngine(MODEL, table=TableLimits(idle_timeout_s=6, max_life_s=10))
    idle, used = engine.open(), engine.open()
    for second in (5.0, 9.0):
        engine.now_s = second
        engine.step(used, engine.steps(used), [1])
        engine.engine.table.expire()
    engine.now_s = 10.0
    assert engine.engine.table.expire() == 1
    assert reason_of(engine, idle) is Reason.SESSION_EXPIRED
    assert reason_of(engine, used) is Reason.SESSION_TOO_OLD


def test_a_fork_and_an_imported_session_have_lives_of_their_own():
    engine = aged()
    session = engine.open()
    engine.now_s = 9.0
    (((fork,), _),) = engine.fork(session)
    ((blob, _),) = engine.export(session)
    imported = engine.restore(blob)
    engine.now_s = 18.0
    assert engine.engine.table.expire() == 1
    for young in (fork, imported):
        engine.step(young, 0, [1])


def test_an_old_session_ends_after_what_is_under_way():
    engine, heard = aged(), Heard(lambda _: Verdict.PAUSE)
    stepping, generating = engine.open(), engine.open()
    outcomes = engine.submit(stepping, 0, [1, 2, 3])
    generation = engine.generate(generating, [1], heard.audience)
    engine.now_s = 11.0
    assert engine.engine.table.expire() == 0
    engine.run_all()
    assert engine.engine.table.expire() == 1
    assert len(logits(outcomes)) == 3
    generation.leave()
    assert engine.engine.table.expire() == 1
    assert engine.audit() == []


def test_a_session_is_not_idle_right_after_a_step_that_failed():
    engine = SynchronousEngine(
        MODEL,
        run=failing_on(POISON, MODEL.runner().run),
        table=TableLimits(idle_timeout_s=10),
    )
    session = engine.open()
    outcomes = engine.submit(session, 0, [POISON])
    engine.now_s = 11.0
    engine.run_all()
    assert isinstance(outcomes[0], Refusal)
    assert engine.engine.table.expire() == 0
    engine.step(session, 0, [1])


def test_no_session_that_ends_is_given_what_another_carries():
    """The last steps of an old session and of a young one share a batch; then both are copied."""
    engine = aged()
    old = engine.open()
    engine.now_s = 5.0
    young = engine.open()
    told_of_young = engine.submit(young, 0, [3]), engine.fork(young)
    told_of_old = engine.submit(old, 0, [7]), engine.export(old)
    engine.now_s = 11.0
    engine.run_all()
    alone = SynchronousEngine(MODEL)
    session = alone.open()
    alone.step(session, 0, [7])
    assert all(len(told) == 1 for told in (*told_of_young, *told_of_old))
    (exported,) = told_of_old[1]
    if isinstance(exported, Refusal):
        assert exported.reason is Reason.SESSION_TOO_OLD
    else:
        _, (carry,) = blobs.unpack(MODEL.spec, engine.model.fingerprint, exported[0])
        np.testing.assert_allclose(carry, alone.carry(session)[0], atol=1e-6)
    assert engine.audit() == []


def test_a_close_behind_a_fork_of_an_old_session_is_told_once(caplog):
    engine = aged()
    session = engine.open()
    outcomes, forked, closed = (
        engine.submit(session, 0, [7]),
        engine.fork(session),
        engine.close(session),
    )
    engine.now_s = 11.0
    engine.run_all()
    assert len(logits(outcomes)) == 1
    assert len(forked) == 1
    assert closed == [1]
    assert caplog.records == []
    assert engine.audit() == []


def test_the_end_of_all_leaves_alone_what_has_work_under_way():
    engine, heard = SynchronousEngine(MODEL), Heard()
    idle, stepping, generating = (engine.open() for _ in range(3))
    outcomes = engine.submit(stepping, 0, [1, 2, 3])
    engine.generate(generating, [1], heard.audience, max_tokens=3)
    engine.engine.table.end_all(Cause.DRAINED)
    assert len(engine.engine.table) == 2
    assert reason_of(engine, idle) is Reason.DRAINING
    engine.run_all()
    assert len(logits(outcomes)) == 3
    assert len(heard.tokens) == 3
    assert engine.audit() == []


def test_how_a_session_ended_is_remembered_of_so_many(monkeypatch):
    monkeypatch.setattr(tables, "REMEMBERED_ENDS", 3)
    engine = SynchronousEngine(MODEL)
    sessions = [engine.open() for _ in range(5)]
    for session in sessions:
        engine.close(session)
    found = [reason_of(engine, session) for session in sessions]
    assert found == [Reason.UNKNOWN_SESSION] * 2 + [Reason.SESSION_CLOSED] * 3


def test_sessions_that_have_gone_leave_nothing_in_the_table():
    engine = SynchronousEngine(MODEL, table=TableLimits(idle_timeout_s=1e9))
    for _ in range(3 * tables.REMEMBERED_ENDS):
        engine.close(engine.open())
        engine.now_s += 1.0
        engine.engine.table.expire()
    fields = vars(engine.engine.table).values()
    assert max(len(held) for held in fields if hasattr(held, "__len__")) <= tables.REMEMBERED_ENDS


def test_replies_are_kept_for_a_resend_however_many_were_before():
    keeps = SessionLimits(kept_replies=4, kept_bytes=20 * MODEL.spec.step_bytes)
    engine = SynchronousEngine(MODEL, sessions=keeps)
    session = engine.open()
    for index in range(0, 300, 3):
        engine.step(session, index, [1, 2, 3])
    for index in range(288, 300, 3):
        assert len(logits(engine.submit(session, index, [1, 2, 3]))) == 3
    assert engine.notes.resends == 4
    with pytest.raises(Refusal) as error:
        engine.submit(session, 285, [1, 2, 3])
    assert error.value.reason is Reason.INDEX_PAST


def test_large_replies_push_older_ones_out():
    keeps = SessionLimits(kept_bytes=10 * MODEL.spec.step_bytes)
    engine = SynchronousEngine(MODEL, sessions=keeps)
    session, index = engine.open(), 0
    for steps in (1, 1, 6, 4, 1):
        engine.step(session, index, [1] * steps)
        index += steps
    kept = []
    for at, steps in ((0, 1), (1, 1), (2, 6), (8, 4), (12, 1)):
        try:
            kept.append(len(logits(engine.submit(session, at, [1] * steps))))
        except Refusal as refusal:
            kept.append(refusal.reason)
    assert kept == [Reason.INDEX_PAST, Reason.INDEX_PAST, Reason.INDEX_PAST, 4, 1]
    assert engine.audit() == []
