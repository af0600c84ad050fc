"""The auditor itself: whatever is broken by hand, it finds, and it finds nothing where all is well.

Nothing that an engine offers breaks it, so these tests reach for what is private.
"""

from dataclasses import replace

import pytest

from heard import Heard
from rnnserve.engine.audit import audit
from rnnserve.engine.session import Session
from rnnserve.engine.slots import Lease
from small_models import small_model
from synchronous_engine import SynchronousEngine

MODEL = small_model("gru", 1)


class Busy:
    """An engine with a session that was answered, one with two chunks under way, and one that
    generates."""

    def __init__(self) -> None:
        self.outside = SynchronousEngine(MODEL)
        self.engine, self.model = self.outside.engine, self.outside.model
        answered, stepping, generating = (self.outside.open() for _ in range(3))
        self.outside.step(answered, 0, [1, 2])
        heard = Heard()
        self.generation = self.outside.generate(generating, [1], heard.audience)
        self.outside.tick()
        self.outside.submit(stepping, 0, [1, 2, 3])
        self.outside.submit(stepping, 3, [4])
        self.answered: Session = self.model.sessions[answered]
        self.stepping: Session = self.model.sessions[stepping]
        self.generating: Session = self.model.sessions[generating]

    def entry(self, session: Session):
        return self.engine.table._entries[session.id]


def test_where_all_is_well_nothing_is_found_and_everything_counted():
    busy = Busy()
    found = audit(busy.engine)
    assert found.problems == ()
    step_bytes = MODEL.spec.step_bytes
    assert (found.sessions, found.generations) == (3, 1)
    assert (found.waiting_steps, found.waiting_bytes) == (4, 4 * step_bytes)
    busy.outside.begin()
    assert audit(busy.engine).problems == ()


def other_session(busy: Busy) -> None:
    was = busy.answered
    busy.model.sessions[was.id] = Session(was.id, was.lease, was.limits, was.steps)


def another_listener(busy: Busy) -> None:
    busy.stepping.pending[0].listener = None


def third_chunk(busy: Busy) -> None:
    busy.generating.pending.extend(busy.stepping.pending)


def unanswered(busy: Busy) -> None:
    busy.answered._kept[0].answer = None


SABOTAGE = {
    "a session only in the table": (
        lambda busy: busy.model.sessions.pop(busy.answered.id),
        "in one table only",
    ),
    "a session only in the model": (
        lambda busy: busy.engine.table._entries.pop(busy.answered.id),
        "in one table only",
    ),
    "two sessions of one id": (other_session, "is another one in its model"),
    "a closed session that is listed": (lambda busy: busy.answered.end(), "closed and still"),
    "carry bytes miscounted": (
        lambda busy: setattr(busy.engine.table, "begun_bytes", 1),
        "carry bytes are counted",
    ),
    "waiting steps miscounted": (
        lambda busy: setattr(busy.engine.backlog, "steps", 5),
        "counted as waiting",
    ),
    "waiting bytes miscounted": (
        lambda busy: setattr(busy.engine.backlog, "bytes", 5),
        "counted as waiting",
    ),
    "the model's waiting steps miscounted": (
        lambda busy: setattr(busy.model, "waiting_steps", 5),
        "counted as waiting",
    ),
    "a slot free twice": (
        lambda busy: busy.model.slots._free.append(busy.model.slots._free[0]),
        "free twice",
    ),
    "a slot that got lost": (lambda busy: busy.model.slots._free.pop(), "neither leased nor free"),
    "a leased slot that is free too": (
        lambda busy: busy.model.slots._free.append(busy.answered.lease.slot),
        "leased and free",
    ),
    "a leased slot free in another's place": (
        lambda busy: busy.model.slots._free.__setitem__(0, busy.answered.lease.slot),
        "leased and free",
    ),
    "a lease stolen by another session": (
        lambda busy: setattr(busy.answered, "lease", busy.stepping.lease),
        "leased twice",
    ),
    "a lease that has ended": (
        lambda busy: setattr(busy.answered, "lease", replace(busy.answered.lease, serial=9)),
        "lost their lease",
    ),
    "a lease given back under its session": (
        lambda busy: busy.model.slots.release(busy.answered.lease),
        "lost their lease",
    ),
    "the first chunk dropped": (lambda busy: busy.stepping.pending.pop(0), "a chunk stands at"),
    "the last chunk dropped": (lambda busy: busy.stepping.pending.pop(), "admitted is"),
    "an index moved": (lambda busy: setattr(busy.answered, "steps", 7), "admitted is"),
    "nobody to be answered": (another_listener, "nobody listens"),
    "kept steps miscounted": (
        lambda busy: setattr(busy.answered, "_kept_steps", 0),
        "kept steps are counted",
    ),
    "a chunk kept without its answer": (unanswered, "without an answer"),
    "several chunks of a generation": (third_chunk, "several chunks under way"),
    "no turn for the first chunk": (lambda busy: busy.model.batcher._ready.clear(), "have a turn"),
    "two turns for a chunk": (
        lambda busy: busy.model.batcher.add(busy.stepping.pending[0]),
        "have a turn",
    ),
    "a turn for the second chunk": (
        lambda busy: busy.model.batcher.add(busy.stepping.pending[1]),
        "have a turn",
    ),
    "a session that says it generates": (
        lambda busy: setattr(busy.answered, "generating", True),
        "the sessions that generate",
    ),
    "a session that denies it generates": (
        lambda busy: setattr(busy.generating, "generating", False),
        "the sessions that generate",
    ),
    "a generation forgotten": (
        lambda busy: busy.model.generations.clear(),
        "the sessions that generate",
    ),
    "a generation with two turns": (
        lambda busy: busy.model.batcher.add_generation(busy.generation),
        "the same one twice",
    ),
    "a generation that is over and has a turn": (
        lambda busy: busy.generation.fail(None),
        "a generation that is over",
    ),
}


@pytest.mark.parametrize("broken", SABOTAGE)
def test_what_is_broken_by_hand_is_found(broken):
    sabotage, words = SABOTAGE[broken]
    busy = Busy()
    sabotage(busy)
    problems = audit(busy.engine).problems
    assert any(words in problem for problem in problems), problems


def test_what_is_broken_while_a_batch_runs_is_found():
    busy = Busy()
    work = busy.outside.begin()
    assert work is not None
    busy.model.running = None
    assert audit(busy.engine).problems
    busy.model.running = work.batch
    assert audit(busy.engine).problems == ()


def test_no_problem_tells_a_whole_session_id():
    """It is what entitles a client to the session, and an audit may be read by anybody."""
    busy = Busy()
    for session in (busy.answered, busy.stepping, busy.generating):
        session.lease = Lease(0, 99)
        session.admitted += 1
    problems = audit(busy.engine).problems
    ids = busy.model.sessions.keys()
    assert len(problems) > 3
    assert not any(session_id in problem for problem in problems for session_id in ids)
