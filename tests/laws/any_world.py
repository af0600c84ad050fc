"""Sessions and sequences of any model over an engine that is ticked by hand, each held against what
NumPy says of it alone."""

from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pytest

from laws.known import Known, Told
from rnnserve.engine.batcher import BatchLimits
from rnnserve.engine.chunk import Chunk, Memory
from rnnserve.engine.rounds import Work
from rnnserve.engine.sequences import Name, Request, Sequences
from rnnserve.engine.table import TableLimits
from rnnserve.errors import Reason, Refusal
from rnnserve.repository import strings
from rnnserve.repository.spec import Shape
from synchronous_engine import SynchronousEngine

MAX_SESSIONS = 4
IDLE_S = 30.0

Steps = list[tuple[np.ndarray, ...]]
"""What each step of a chunk gives."""


@dataclass
class Life:
    """What a session or a sequence has to answer."""

    carry: object
    fresh: bool = True
    """Nothing has been taken since the carry began."""
    steps: int = 0
    waiting: list[tuple[list, Steps | None]] = field(default_factory=list)
    """What was told of each chunk, once it was; and what has to be: None, that it failed."""


class AnyWorld:
    """Does what may be done, and knows what has to come of it."""

    def __init__(self, known: Known) -> None:
        self.known = known
        self.engine = SynchronousEngine(
            known.model,
            run=known.run,
            batches=BatchLimits(max_rows=3 if known.spec.has_rows else 1, max_block_steps=3),
            table=TableLimits(MAX_SESSIONS, idle_timeout_s=IDLE_S),
        )
        self.sequences = Sequences(self.engine.engine)
        self.named: dict[int | str, Life] = {}
        self.sessions: dict[str, Life] = {}
        self.over: list[Life] = []
        """Those that take nothing more, until all is answered."""
        self.blobs: list[tuple[bytes, Life]] = []
        self.held: Work | None = None

    # Sequences.

    def start(self, number: int | str, values: list[int], end: bool, factor: int) -> None:
        """One that goes on under the same number ends, unless this one is refused."""
        before = self.named.get(number)
        begin = partial(
            self._step_of, number, Life(self.known.begin(factor)), values, start=True, end=end
        )
        # One that is idle gives its place; one that isn't keeps it until all of it is answered.
        if self._has_room() or (before is not None and not before.waiting):
            begin(factor=factor)
            if before is not None:
                self.over.append(before)
            return
        with pytest.raises(Refusal) as error:
            begin(factor=factor)
        assert error.value.reason is Reason.TOO_MANY_SESSIONS

    def go_on(self, number: int | str, values: list[int], end: bool) -> None:
        life = self.named.get(number)
        if life is not None:
            self._step_of(number, life, values, start=False, end=end)
            return
        with pytest.raises(Refusal) as error:
            self._step_of(number, Life(None), values, start=False, end=end)
        assert error.value.reason is Reason.SEQUENCE_NOT_STARTED

    def _step_of(
        self, number: int | str, life: Life, values, *, start: bool, end: bool, factor: int = 1
    ) -> None:
        x, told = self.known.x(values), []
        name = Name(self.known.model.name, 0, number)
        memory, shapes = self._memory([x])
        carry = self.known.carry(factor) if start else None
        request = Request(memory, shapes, start, end, told.append, carry=carry)
        model = self.sequences.model(name, start=start)
        self.sequences.step(name, model, request)
        life.waiting.append((told, self._expected(life, [x], end, number)))
        if end:
            self.named.pop(number, None)
            self.over.append(life)
        else:
            self.named[number] = life

    # Sessions of the native API, each with one chunk under way at the most.

    def open(self, factor: int) -> None:
        life = Life(self.known.begin(factor))
        if self._has_room():
            self.sessions[self.engine.open(self.known.carry(factor))] = life

    def step(self, which: int, chunk: list[list[int]]) -> None:
        session_id, life = self._pick(which)
        xs = [self.known.x(values) for values in chunk]
        if self.known.spec.is_shaped:
            del xs[1:]
        memory, shapes = self._memory(xs)
        entry, told = self.engine.engine.session(session_id), []
        entry.model.submit(
            entry.session, life.steps, memory, told.append, entry.used_s, shapes=shapes
        )
        life.waiting.append((told, self._expected(life, xs, False, None)))

    def reset(self, which: int, factor: int) -> None:
        """It keeps what it sets once."""
        session_id, life = self._pick(which)
        assert self.engine.reset(session_id, life.steps) == [life.steps]
        if self.known.spec.once:
            factor = int(life.carry[1])
        life.carry, life.fresh = self.known.begin(factor), True

    def fork(self, which: int) -> None:
        session_id, life = self._pick(which)
        if self._has_room():
            ((ids, index),) = self.engine.fork(session_id)
            assert index == life.steps
            self.sessions[ids[0]] = Life(life.carry, life.fresh, life.steps)

    def export(self, which: int) -> None:
        session_id, life = self._pick(which)
        ((blob, index),) = self.engine.export(session_id)
        assert index == life.steps
        self.blobs.append((blob, Life(life.carry, life.steps == 0, life.steps)))

    def restore(self, which: int) -> None:
        blob, was = self.blobs[which % len(self.blobs)]
        if self._has_room():
            self.sessions[self.engine.restore(blob)] = Life(was.carry, was.fresh, was.steps)

    def close(self, which: int) -> None:
        session_id, life = self._pick(which)
        assert self.engine.close(session_id) == [life.steps]
        del self.sessions[session_id]

    # Time, and work.

    def begin_run(self) -> None:
        self.held = self.engine.begin()

    def finish_run(self) -> None:
        assert self.held is not None
        self.engine.finish(self.held)
        self.held = None

    def run_all(self) -> None:
        if self.held is not None:
            self.finish_run()
        self.engine.run_all()
        self.check()

    def all_idle(self) -> None:
        self.run_all()
        self.engine.now_s += IDLE_S
        self.engine.engine.table.expire()
        assert len(self.engine.engine.table) == 0
        self.named.clear()
        self.sessions.clear()

    def check(self) -> None:
        """Everything that was told so far is right, and came in order."""
        for life in (*self.named.values(), *self.sessions.values(), *self.over):
            while life.waiting and life.waiting[0][0]:
                ((outcome,), expected) = life.waiting.pop(0)
                self._compare(outcome, expected)
            assert not any(told for told, _ in life.waiting), "answered out of order"
        self.over = [life for life in self.over if life.waiting]
        if self.held is None:
            assert self.engine.audit() == []

    def end(self) -> None:
        """All is answered, and a slot that is taken again remembers nothing."""
        self.run_all()
        for life in (*self.named.values(), *self.sessions.values(), *self.over):
            assert life.waiting == []
        self.all_idle()
        assert self.engine.model.slots.free_count == MAX_SESSIONS
        for number in range(MAX_SESSIONS):
            self.start(self.number(number), [1], end=False, factor=2)
        self.run_all()

    def number(self, number: int) -> int | str:
        """As the model's sequences are called."""
        return f"s{number}" if self.known.model.name == "marked_by_name" else number + 1

    def _has_room(self) -> bool:
        return len(self.engine.engine.table) < MAX_SESSIONS

    def _pick(self, which: int) -> tuple[str, Life]:
        session_id = list(self.sessions)[which % len(self.sessions)]
        life = self.sessions[session_id]
        if life.waiting:
            self.run_all()
        return session_id, life

    def _memory(self, xs: list[np.ndarray]) -> tuple[Memory, tuple[Shape, ...] | None]:
        shapes = (xs[0].shape,) if self.known.spec.is_shaped else None
        return (b"".join(x.tobytes() for x in xs),), shapes

    def _expected(self, life: Life, xs, end: bool, number) -> Steps | None:
        """What the steps have to give; the life goes on unless they fail."""
        if any(map(self.known.fails_on, xs)):
            return None
        found = []
        for x in xs:
            life.carry, outputs = self.known.step(life.carry, x, Told(life.fresh, end, number))
            life.fresh = False
            life.steps += 1
            found.append(outputs)
        return found

    def _compare(self, outcome: Chunk | Refusal, expected: Steps | None) -> None:
        if expected is None:
            assert isinstance(outcome, Refusal)
            assert outcome.reason is Reason.MODEL_FAILED
            return
        assert isinstance(outcome, Chunk), outcome
        assert outcome.answer is not None
        columns = zip(*expected, strict=True)
        for tensor, memory, column in zip(
            self.known.spec.outputs, outcome.answer, columns, strict=True
        ):
            if column[0].tolist() == [None]:
                continue  # The server's own number for a session that has none.
            if tensor.dtype.kind == "O":
                found = strings.unpack(memory)
            else:
                found = np.frombuffer(memory, tensor.dtype).tolist()
            assert found == np.concatenate([np.ravel(one) for one in column]).tolist()
