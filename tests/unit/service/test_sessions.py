"""The lives of sessions: ends that are told apart, capacity, expiry, and close behind work."""

import numpy as np
import pytest

from rnnserve.engine.meter import Cause
from rnnserve.engine.session import SessionLimits
from rnnserve.engine.table import TableLimits
from rnnserve.errors import Reason, Refusal
from small_models import small_model
from synchronous_engine import SynchronousEngine, logits, memory

MODEL = small_model("gru", 1)


def refused(call, *arguments) -> Reason:
    with pytest.raises(Refusal) as error:
        call(*arguments)
    return error.value.reason


def test_an_idle_session_ends_and_its_next_step_says_expired():
    engine = SynchronousEngine(MODEL, table=TableLimits(idle_timeout_s=10))
    idle, used = engine.open(), engine.open()
    engine.now_s = 9.0
    engine.step(used, 0, [1])
    engine.now_s = 10.0
    assert refused(engine.submit, idle, 0, [1]) is Reason.SESSION_EXPIRED
    engine.step(used, 1, [1])
    assert engine.notes.ends == [Cause.IDLE]
    assert engine.audit() == []


def test_a_session_with_work_under_way_never_expires():
    engine = SynchronousEngine(MODEL, table=TableLimits(idle_timeout_s=10))
    session = engine.open()
    outcomes = engine.submit(session, 0, [1])
    engine.now_s = 1000.0
    assert engine.engine.table.expire() == 0
    engine.run_all()
    assert len(logits(outcomes)) == 1


def test_an_expired_session_makes_room_for_a_new_one():
    engine = SynchronousEngine(MODEL, table=TableLimits(max_sessions=1, idle_timeout_s=10))
    engine.open()
    assert refused(engine.open) is Reason.TOO_MANY_SESSIONS
    engine.now_s = 10.0
    engine.open()


def test_a_close_behind_steps_comes_after_their_answers_and_nothing_comes_after_it():
    engine = SynchronousEngine(MODEL)
    session = engine.open()
    first, second = engine.submit(session, 0, [1, 2]), engine.submit(session, 2, [3])
    told = engine.close(session)
    assert told == []
    assert refused(engine.submit, session, 3, [1]) is Reason.SESSION_CLOSED
    engine.run_all()
    assert (len(logits(first)), len(logits(second)), told) == (2, 1, [3])
    assert refused(engine.submit, session, 3, [1]) is Reason.SESSION_CLOSED
    assert engine.audit() == []


def test_too_many_chunks_under_way_are_refused_and_the_session_goes_on():
    engine = SynchronousEngine(MODEL, sessions=SessionLimits(max_pending_chunks=2))
    session = engine.open()
    under_way = [engine.submit(session, index, [1]) for index in range(2)]
    assert refused(engine.submit, session, 2, [1]) is Reason.TOO_MANY_PENDING
    engine.run_all()
    engine.step(session, 2, [1])
    assert all(len(logits(outcomes)) == 1 for outcomes in under_way)


def test_the_newest_reply_is_kept_however_large_it_is():
    engine = SynchronousEngine(MODEL, sessions=SessionLimits(kept_bytes=1))
    session = engine.open()
    engine.step(session, 0, [1] * 50)
    newest = engine.submit(session, 50, [2] * 50)
    engine.run_all()
    assert engine.submit(session, 50, [2] * 50) == newest
    assert refused(engine.submit, session, 0, [1] * 50) is Reason.INDEX_PAST


def test_everything_that_waits_is_answered_when_the_ticker_is_gone():
    engine = SynchronousEngine(MODEL)
    session = engine.open()
    waiting = [engine.submit(session, index, [1]) for index in range(3)]
    engine.model.abandon(Refusal(Reason.DRAINING, "gone"))
    for outcomes in waiting:
        assert refused(logits, outcomes) is Reason.DRAINING


def test_draining_refuses_new_sessions_and_serves_the_open_ones():
    engine = SynchronousEngine(MODEL)
    session = engine.open()
    engine.engine.drain()
    assert refused(engine.open) is Reason.DRAINING
    engine.step(session, 0, [1])
    engine.engine.table.end_all(Cause.DRAINED)
    assert refused(engine.submit, session, 1, [1]) is Reason.DRAINING


def test_when_the_server_goes_a_busy_session_takes_no_more_and_ends_behind_its_steps():
    engine = SynchronousEngine(MODEL)
    table = engine.engine.table
    session = engine.open()
    taken = [engine.submit(session, index, [1]) for index in range(3)]
    assert not engine.engine.is_at_rest
    table.end_all(Cause.DRAINED)
    assert refused(engine.submit, session, 3, [1]) is Reason.DRAINING
    engine.run_all()
    assert [len(logits(outcomes)) for outcomes in taken] == [1, 1, 1]
    assert engine.engine.is_at_rest
    table.end_all(Cause.DRAINED)
    assert len(table) == 0
    assert engine.audit() == []


def test_a_session_is_not_idle_right_after_a_long_step():
    engine = SynchronousEngine(MODEL, table=TableLimits(idle_timeout_s=10))
    session = engine.open()
    outcomes = engine.submit(session, 0, [1])
    engine.now_s = 11.0
    engine.run_all()
    assert len(logits(outcomes)) == 1
    assert engine.engine.table.expire() == 0
    engine.step(session, 1, [1])


def test_a_session_held_by_a_call_never_idles():
    engine = SynchronousEngine(MODEL, table=TableLimits(idle_timeout_s=10))
    engine.engine.open(engine.model, held=True)
    engine.now_s = 1000.0
    assert engine.engine.table.expire() == 0


def test_a_listener_that_fails_keeps_nobody_from_their_answers(caplog):
    engine = SynchronousEngine(MODEL)
    session, other = engine.open(), engine.open()

    def broken(_: object) -> None:
        raise RuntimeError("a listener's own trouble")

    entry = engine.engine.session(session)
    entry.model.submit(entry.session, 0, (memory([1]),), broken, entry.used_s)
    resent, beside = engine.submit(session, 0, [1]), engine.submit(other, 0, [1])
    engine.run_all()
    assert len(logits(resent)) == len(logits(beside)) == 1
    assert "a listener failed" in caplog.text


@pytest.mark.parametrize("wrong", ["carry of one row", "too few steps", "another type"])
def test_arrays_that_are_not_as_the_spec_says_fail_the_step_and_write_nothing(wrong):
    run = MODEL.runner().run

    def bent(carry, inputs):
        carry, (scores,) = run(carry, inputs)
        if inputs[0].shape[1] == 1:
            return carry, (scores,)
        match wrong:
            case "carry of one row":
                return tuple(array[:1][0] for array in carry), (scores,)
            case "too few steps":
                return carry, (scores[:, :1],)
        return carry, (scores.astype(np.float64),)

    engine = SynchronousEngine(MODEL, run=bent)
    session, other = engine.open(), engine.open()
    before = engine.step(session, 0, [1])
    failed = [engine.submit(session, 1, [2, 3]), engine.submit(other, 0, [2, 3])]
    engine.run_all()
    for outcomes in failed:
        assert refused(logits, outcomes) is Reason.MODEL_FAILED
    np.testing.assert_array_equal(engine.step(other, 0, [1]), before)
    assert engine.audit() == []


def test_a_chunk_is_no_longer_than_its_reply_may_be_large():
    scores_bytes = MODEL.spec.outputs[0].step_bytes
    engine = SynchronousEngine(MODEL, sessions=SessionLimits(max_reply_bytes=3 * scores_bytes))
    session = engine.open()
    assert refused(engine.submit, session, 0, [1] * 4) is Reason.CHUNK_TOO_LONG
    assert len(engine.step(session, 0, [1] * 3)) == 3


def test_after_the_ticker_is_gone_nothing_is_taken_in():
    engine = SynchronousEngine(MODEL)
    session = engine.open()
    engine.model.abandon(Refusal(Reason.DRAINING, "gone"))
    assert refused(engine.submit, session, 0, [1]) is Reason.DRAINING
