"""Models whose messages bring their shapes: who runs together, carries that grow, and requests that
stand alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plain_models import POISON, doubling_model, memory_model
from rnnserve.engine.chunk import Chunk
from rnnserve.engine.loose import LooseSlots
from rnnserve.engine.table import TableLimits
from rnnserve.errors import Reason, Refusal
from rnnserve.repository.spec import CarrySpec, QueueSpec
from synchronous_engine import SynchronousEngine

FLOAT_BYTES = 4


def floats(*values: float) -> bytes:
    return np.array(values, np.float32).tobytes()


def submit(engine: SynchronousEngine, session_id: str, *values: float) -> list:
    """A message of these values; the list gets its outcome."""
    told: list = []
    entry = engine.engine.session(session_id)
    engine.engine.check_growth(entry.model)
    entry.model.submit(
        *(entry.session, entry.session.admitted, (floats(*values),), told.append, 0.0),
        shapes=((len(values),),),
    )
    return told


def visit(engine: SynchronousEngine, *rows: list[float]) -> list:
    """A request that stands alone, of these rows; the list gets its outcome."""
    told: list = []
    shape = (len(rows[0]),)
    memory = b"".join(floats(*row) for row in rows)
    engine.model.visit((memory,), (shape,), len(rows), told.append, 0.0)
    return told


def answer(told: list) -> np.ndarray:
    (chunk,) = told
    assert isinstance(chunk, Chunk), chunk
    assert chunk.answer is not None
    assert chunk.answer_shapes is not None
    return np.frombuffer(chunk.answer[0], np.float32).reshape(chunk.rows, *chunk.answer_shapes[0])


def reason(told: list) -> Reason:
    (refusal,) = told
    assert isinstance(refusal, Refusal), refusal
    return refusal.reason


def test_messages_of_equal_shapes_run_together_and_no_others():
    model = memory_model()
    engine = SynchronousEngine(model)
    ids = [engine.open() for _ in range(5)]
    told = [submit(engine, i, *range(1, n + 1)) for i, n in zip(ids, (2, 3, 2, 3, 2), strict=True)]
    engine.run_all()
    assert model.batches == [3, 2]
    assert [float(answer(one)[0, 0]) for one in told] == [3, 6, 3, 6, 3]
    assert engine.audit() == []


def test_a_message_that_fails_fails_alone_and_leaves_its_session_as_it_was():
    engine = SynchronousEngine(memory_model())
    good, bad = engine.open(), engine.open()
    submit(engine, bad, 1.0)
    told = [submit(engine, good, 1.0, 2.0), submit(engine, bad, POISON, 2.0)]
    engine.run_all()
    again = submit(engine, bad, 5.0, 0.0)
    engine.run_all()
    assert float(answer(told[0])[0, 0]) == 3
    assert reason(told[1]) is Reason.MODEL_FAILED
    assert float(answer(again)[0, 0]) == 6
    assert engine.audit() == []


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 4)), max_size=30))
def test_a_carry_that_grows_is_each_sessions_own_in_any_company(messages):
    engine = SynchronousEngine(memory_model())
    ids = [engine.open() for _ in range(4)]
    sums = [0.0] * 4
    for number, (who, length) in enumerate(messages):
        values = [float(number)] * length
        sums[who] += number * length
        told = submit(engine, ids[who], *values)
        if number % 3 == 2:
            engine.run_all()
            assert float(answer(told)[0, 0]) == sums[who]
    engine.run_all()
    assert engine.audit() == []
    held = sum(carry.nbytes for i in ids for carry in engine.carry(i))
    assert engine.engine.table.carry_bytes == held
    for session_id in ids:
        engine.close(session_id)
    assert engine.engine.table.carry_bytes == 0
    assert engine.audit() == []


def test_a_carry_grows_no_further_than_there_is_room_and_loses_nothing():
    engine = SynchronousEngine(memory_model(), table=TableLimits(max_carry_bytes=10 * FLOAT_BYTES))
    session, neighbour = engine.open(), engine.open()
    told = [submit(engine, session, *[1.0] * count) for count in (4, 2, 7)]
    told.append(submit(engine, neighbour, 1.0, 1.0))
    engine.run_all()
    assert [float(answer(one)[0, 0]) for one in (*told[:2], told[3])] == [4, 6, 2]
    assert reason(told[2]) is Reason.NO_CARRY_ROOM
    assert engine.engine.table.carry_bytes == 10 * FLOAT_BYTES
    again = submit(engine, session)
    engine.run_all()
    assert float(answer(again)[0, 0]) == 6
    assert engine.reset(session, 3) == [3]
    again = submit(engine, session, 2.0)
    engine.run_all()
    assert float(answer(again)[0, 0]) == 2
    assert engine.audit() == []


def test_however_many_steps_are_under_way_carries_stay_within_their_room():
    limit = 100 * FLOAT_BYTES
    engine = SynchronousEngine(memory_model(), table=TableLimits(max_carry_bytes=limit))
    ids = [engine.open() for _ in range(3)]
    for _ in range(20):
        for session in ids:
            submit(engine, session, *[1.0] * 10)
    while engine.tick():
        assert engine.engine.table.carry_bytes <= limit
    assert engine.audit() == []


def test_forks_and_imports_of_what_has_grown_are_all_made_or_none():
    limit = 40 * FLOAT_BYTES
    engine = SynchronousEngine(memory_model(), table=TableLimits(max_carry_bytes=limit))
    session = engine.open()
    submit(engine, session, *[1.0] * 11)
    engine.run_all()
    ((blob, _),) = engine.export(session)
    (refused,) = engine.fork(session, 3)
    assert refused.reason is Reason.NO_CARRY_ROOM
    assert len(engine.engine.table) == 1
    ((forks, _),) = engine.fork(session, 2)
    assert len(forks) == 2
    with pytest.raises(Refusal) as error:
        engine.restore(blob)
    assert error.value.reason is Reason.NO_CARRY_ROOM
    assert engine.audit() == []


def test_text_in_a_carry_weighs_what_it_holds_and_may_have_no_axes():
    slots = LooseSlots(
        (CarrySpec("s", "s_next", np.dtype(object), ()),), 2, (np.array("", object),)
    )
    lease = slots.take()
    grown = slots.apart((np.array(["x" * 1000], object),))
    slots.has_room = lambda more_bytes: more_bytes < 1000
    assert slots.scatter(slots.gather([lease]), grown) == [0]
    slots.has_room = lambda more_bytes: True
    assert slots.scatter(slots.gather([lease]), grown) == []
    assert slots.grown_bytes == 4000
    assert slots.read(lease)[0].item() == "x" * 1000
    assert slots.audit([lease]) == []
    slots.release(lease)
    assert slots.grown_bytes == 0


def test_a_grown_session_exported_goes_on_where_it_was():
    engine = SynchronousEngine(memory_model())
    session = engine.open()
    submit(engine, session, 1.0, 2.0, 4.0)
    engine.run_all()
    ((blob, index),) = engine.export(session)
    again = engine.restore(blob)
    told = submit(engine, again, 8.0)
    engine.run_all()
    assert (index, float(answer(told)[0, 0])) == (1, 15)
    ((forks, _),) = engine.fork(again)
    told = submit(engine, forks[0], 16.0)
    engine.run_all()
    assert float(answer(told)[0, 0]) == 31
    assert engine.audit() == []


def test_a_batch_that_cannot_be_put_together_fails_row_by_row():
    engine = SynchronousEngine(doubling_model())
    join = engine.model.form.join

    def joined(batch):
        if any(chunk.inputs[0] == floats(2.0) for chunk in batch.chunks):
            raise MemoryError
        return join(batch)

    engine.model.form.join = joined
    told = [visit(engine, [value]) for value in (1.0, 2.0, 3.0)]
    engine.run_all()
    assert reason(told[1]) is Reason.MODEL_FAILED
    assert [answer(told[place]).item() for place in (0, 2)] == [2, 6]
    assert engine.audit() == []


def test_a_draining_server_takes_no_request_that_stands_alone_and_waits_for_those_it_took():
    engine = SynchronousEngine(doubling_model())
    told = visit(engine, [1.0])
    engine.engine.drain()
    assert engine.engine.has_callers
    with pytest.raises(Refusal) as error:
        engine.engine.visit(engine.model, (floats(1.0),), ((1,),), 1, told.append)
    assert error.value.reason is Reason.DRAINING
    engine.run_all()
    assert answer(told).item() == 2
    assert not engine.engine.has_callers


def test_requests_that_stand_alone_share_a_batch_row_by_row():
    model = doubling_model()
    engine = SynchronousEngine(model)
    one = visit(engine, [1.0, 2.0])
    two = visit(engine, [3.0, 4.0], [5.0, 6.0])
    other = visit(engine, [7.0])
    engine.run_all()
    assert model.batches == [3, 1]
    assert answer(one).tolist() == [[2, 4]]
    assert answer(two).tolist() == [[6, 8], [10, 12]]
    assert answer(other).tolist() == [[14]]
    assert len(engine.engine.table) == 0
    assert engine.audit() == []


def test_a_request_of_more_rows_than_run_together_runs_alone():
    model = doubling_model()
    engine = SynchronousEngine(model)
    engine.model.batcher.limits = type(engine.model.batcher.limits)(max_rows=2)
    many = visit(engine, *[[float(row)] for row in range(5)])
    one = visit(engine, [9.0])
    engine.run_all()
    assert model.batches == [5, 1]
    assert answer(many).ravel().tolist() == [0, 2, 4, 6, 8]
    assert answer(one).tolist() == [[18]]


def test_a_request_that_fails_in_the_model_fails_alone():
    engine = SynchronousEngine(doubling_model())
    told = [visit(engine, [1.0]), visit(engine, [2.0], [POISON]), visit(engine, [3.0])]
    engine.run_all()
    assert reason(told[1]) is Reason.MODEL_FAILED
    assert [answer(told[place]).tolist() for place in (0, 2)] == [[[2]], [[6]]]
    assert engine.model.guests == set()
    assert engine.audit() == []


def test_the_models_own_queue_is_bounded_as_it_says():
    engine = SynchronousEngine(doubling_model(queue=QueueSpec(max_waiting=2)))
    told = [visit(engine, [1.0]), visit(engine, [2.0])]
    with pytest.raises(Refusal) as error:
        visit(engine, [3.0])
    assert error.value.reason is Reason.OVERLOADED
    engine.run_all()
    told.append(visit(engine, [3.0]))
    engine.run_all()
    assert [answer(one).item() for one in told] == [2, 4, 6]


def test_a_request_that_waited_for_longer_than_its_model_allows_is_refused():
    engine = SynchronousEngine(doubling_model(queue=QueueSpec(timeout_s=2.0)))
    engine.now_s = 0.0
    late = visit(engine, [1.0])
    engine.now_s = 3.0
    engine.run_all()
    assert reason(late) is Reason.TOO_LATE
    assert engine.audit() == []


def test_requests_that_stand_alone_are_answered_when_the_server_goes():
    engine = SynchronousEngine(doubling_model())
    told = visit(engine, [1.0])
    engine.model.abandon(Refusal(Reason.DRAINING, "gone"))
    assert reason(told) is Reason.DRAINING
