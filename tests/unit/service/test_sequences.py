"""Sequences: sessions that their clients number themselves."""

import numpy as np
import pytest

from plain_models import POISON, marked_model
from rnnserve.engine.backlog import BacklogLimits
from rnnserve.engine.chunk import Chunk
from rnnserve.engine.meter import Cause
from rnnserve.engine.sequences import Name, Request, Sequences
from rnnserve.engine.table import TableLimits
from rnnserve.errors import Reason, Refusal
from synchronous_engine import SynchronousEngine


class Talk:
    """Sequences over an engine that is ticked by hand."""

    def __init__(self, **limits) -> None:
        self.model = marked_model(limits.pop("corrid", "<u8"))
        self.engine = SynchronousEngine(self.model, **limits)
        self.sequences = Sequences(self.engine.engine)

    def send(
        self,
        number: int | str,
        x: float,
        *,
        start: bool = False,
        end: bool = False,
        version: int = 0,
    ) -> list:
        """One step; the list gets its outcome."""
        told: list = []
        name = Name("marked", version, number)
        memory = (np.array([x], np.float32).tobytes(),)
        model = self.sequences.model(name, start=start)
        self.sequences.step(name, model, Request(memory, None, start, end, told.append))
        return told

    def step(self, number: int | str, x: float, **marks) -> float:
        told = self.send(number, x, **marks)
        self.engine.run_all()
        return total(told)

    def refusal(self, number: int, x: float, **marks) -> Refusal:
        with pytest.raises(Refusal) as error:
            self.send(number, x, **marks)
        return error.value


def total(told: list) -> float:
    (chunk,) = told
    assert isinstance(chunk, Chunk), chunk
    assert chunk.answer is not None
    return float(np.frombuffer(chunk.answer[0], np.float32)[0])


def marks(told: list) -> list[float]:
    (chunk,) = told
    assert chunk.answer is not None
    return np.frombuffer(chunk.answer[1], np.float32).tolist()


def test_a_sequence_goes_on_from_step_to_step_and_ends():
    talk = Talk()
    assert talk.step(7, 1.0, start=True) == 1
    assert talk.step(7, 2.0) == 3
    assert talk.step(7, 4.0, end=True) == 7
    assert len(talk.sequences) == len(talk.engine.engine.table) == 0
    assert talk.engine.audit() == []


def test_start_and_end_in_one_step_is_a_sequence_of_one():
    talk = Talk()
    assert talk.step("one", 5.0, start=True, end=True) == 5
    assert len(talk.engine.engine.table) == 0


def test_a_sequence_is_the_same_with_its_version_named_and_without():
    talk = Talk()
    assert talk.step(7, 1.0, start=True) == 1
    assert talk.step(7, 2.0, version=1) == 3
    assert talk.step(7, 4.0, start=True, version=1) == 4
    assert talk.step(7, 1.0, end=True) == 5
    assert len(talk.sequences) == 0


def test_numbers_and_names_are_different_sequences():
    talk = Talk()
    talk.step(7, 1.0, start=True)
    talk.step("7", 10.0, start=True)
    assert (talk.step(7, 0.0), talk.step("7", 0.0)) == (1, 10)


def test_a_step_of_no_sequence_is_refused_and_told_whether_one_has_ended():
    talk = Talk(table=TableLimits(idle_timeout_s=10))
    refusal = talk.refusal(7, 1.0)
    assert (refusal.reason, refusal.facts["cause"]) == (Reason.SEQUENCE_NOT_STARTED, "unknown")
    talk.step(7, 1.0, start=True)
    talk.engine.now_s = 10.0
    assert talk.refusal(7, 1.0).facts["cause"] == "idle"
    talk.step(8, 1.0, start=True, end=True)
    assert talk.refusal(8, 1.0).facts["cause"] == "closed"


def test_a_start_begins_anew_whatever_was_there():
    talk = Talk()
    talk.step(7, 5.0, start=True)
    under_way = talk.send(7, 1.0)
    anew = talk.send(7, 2.0, start=True)
    talk.engine.run_all()
    assert (total(under_way), total(anew)) == (6, 2)
    assert talk.step(7, 1.0) == 3
    assert len(talk.engine.engine.table) == 1
    assert talk.engine.audit() == []


def test_after_its_end_a_sequence_takes_nothing_even_while_its_last_step_waits():
    talk = Talk()
    talk.step(7, 1.0, start=True)
    last = talk.send(7, 1.0, end=True)
    assert talk.refusal(7, 1.0).reason is Reason.SEQUENCE_NOT_STARTED
    anew = talk.send(7, 9.0, start=True)
    talk.engine.run_all()
    assert (total(last), total(anew)) == (2, 9)


def test_steps_run_in_the_order_they_came_and_a_failing_one_leaves_the_others_in_line():
    talk = Talk()
    told = [talk.send(7, x, start=x == 1.0) for x in (1.0, 2.0, POISON, 4.0, 8.0)]
    talk.engine.run_all()
    assert isinstance(told[2][0], Refusal)
    assert [total(told[place]) for place in (0, 1, 3, 4)] == [1, 3, 7, 15]
    assert talk.step(7, 16.0) == 31
    assert talk.engine.audit() == []


def test_a_sequence_ends_though_its_last_step_fails():
    talk = Talk()
    talk.step(7, 1.0, start=True)
    talk.send(7, POISON, end=True)
    talk.engine.run_all()
    assert len(talk.engine.engine.table) == 0
    assert talk.engine.audit() == []


def test_a_start_that_is_refused_leaves_the_sequence_it_would_have_replaced():
    talk = Talk(backlog=BacklogLimits(max_steps=1))
    talk.step(7, 1.0, start=True)
    talk.step(8, 1.0, start=True)
    talk.send(8, 1.0)
    assert talk.refusal(7, 9.0, start=True).reason is Reason.OVERLOADED
    talk.engine.run_all()
    assert talk.step(7, 2.0) == 3
    talk.engine.engine.drain()
    assert talk.refusal(7, 9.0, start=True).reason is Reason.DRAINING
    assert talk.step(7, 2.0) == 5
    assert talk.engine.audit() == []


def test_a_full_house_lets_an_idle_sequence_start_again_in_its_own_place():
    talk = Talk(table=TableLimits(max_sessions=1))
    talk.step(7, 5.0, start=True)
    anew = talk.send(7, 1.0, start=True)
    talk.engine.run_all()
    assert (total(anew), marks(anew)) == (1, [1, 0, 1])
    talk.send(7, 1.0)
    refusal = talk.refusal(7, 3.0, start=True)
    assert refusal.reason is Reason.TOO_MANY_SESSIONS
    talk.engine.run_all()
    assert talk.step(7, 1.0) == 3
    assert talk.engine.audit() == []


def test_what_is_refused_at_its_start_has_not_started():
    talk = Talk(table=TableLimits(max_sessions=1))
    talk.step(7, 1.0, start=True)
    assert talk.refusal(8, 1.0, start=True).reason is Reason.TOO_MANY_SESSIONS
    assert talk.refusal(8, 1.0).reason is Reason.SEQUENCE_NOT_STARTED
    talk.engine.engine.drain()
    assert talk.refusal(9, 1.0, start=True).reason is Reason.DRAINING
    assert talk.step(7, 1.0) == 2


def test_a_sequence_that_ended_with_the_server_is_told_so():
    talk = Talk()
    talk.step(7, 1.0, start=True)
    talk.engine.engine.drain()
    talk.engine.engine.table.end_all(Cause.DRAINED)
    assert talk.refusal(7, 1.0).reason is Reason.DRAINING
    assert talk.refusal(8, 1.0).reason is Reason.SEQUENCE_NOT_STARTED


def test_the_graph_is_told_of_each_row_where_it_stands():
    talk = Talk()
    first = talk.send(7, 1.0, start=True)
    other = talk.send(2**64 - 1, 1.0, start=True, end=True)
    talk.engine.run_all()
    second = talk.send(7, 1.0)
    talk.engine.run_all()
    assert [marks(told) for told in (first, other, second)] == [[1, 0, 1], [1, 1, 1], [0, 0, 1]]
    ids = [np.frombuffer(told[0].answer[2], np.uint64)[0] for told in (first, other)]
    assert ids == [7, 2**64 - 1]
    assert talk.model.batches[0] == 2


def test_a_narrow_number_keeps_the_lower_bits():
    talk = Talk(corrid="<i4")
    told = talk.send(2**32 + 5, 1.0, start=True)
    talk.engine.run_all()
    assert np.frombuffer(told[0].answer[2], np.int32).tolist() == [5]


def test_a_session_of_the_native_api_starts_where_its_carry_begins():
    talk = Talk()
    session = talk.engine.open()
    entry = talk.engine.engine.session(session)
    told: list = []
    memory = (np.array([1.0, 2.0, 3.0], np.float32).tobytes(),)
    entry.model.submit(entry.session, 0, memory, told.append, 0.0)
    talk.engine.run_all()
    totals = np.frombuffer(told[0].answer[0], np.float32)
    starts = np.frombuffer(told[0].answer[1], np.float32).reshape(3, 3)[:, 0]
    assert (totals.tolist(), starts.tolist()) == ([1, 3, 6], [1, 0, 0])
    talk.engine.reset(session, 3)
    entry.model.submit(entry.session, 3, (memory[0][:4],), told.append, 0.0)
    talk.engine.run_all()
    assert np.frombuffer(told[1].answer[1], np.float32)[0] == 1
