"""One model being served: its slots, its batcher, and what waits for its runner.

Takes chunks and generations in, and answers them when `rounds.py` has run them.
"""

import math
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace

import numpy as np

from rnnserve.engine import initial
from rnnserve.engine.backlog import LEAST_RETRY_S, Backlog
from rnnserve.engine.batcher import Batch, Batcher, BatchLimits
from rnnserve.engine.chunk import Chunk, Listener, Memory
from rnnserve.engine.costs import Costs
from rnnserve.engine.form import Form, Regular, Shaped
from rnnserve.engine.generation import Generation
from rnnserve.engine.loose import LooseSlots, NoSlots
from rnnserve.engine.meter import Meter
from rnnserve.engine.session import Session, SessionLimits
from rnnserve.engine.shaped import Pace, ShapedBatcher
from rnnserve.engine.shapes import Shapes
from rnnserve.engine.slots import Lease, Rows, Slots
from rnnserve.engine.statistics import Statistics
from rnnserve.errors import Reason, Refusal
from rnnserve.repository.spec import ModelSpec, Shape

Run = Callable[[Rows, Rows], tuple[Rows, Rows]]
"""`(carry, inputs) -> (carry, outputs)`: `Runner.run`, or a fake in its place."""

NOBODYS = Lease(0, 0)
"""What a request that stands alone has instead of a slot."""
GUEST = SessionLimits(kept_replies=0)

MOST_WAITING_FOR_ONE = 64
"""Resends, forks, exports and resets that may wait behind one chunk."""


class Model:
    """The engine's part for one model version. The one owner of its slots and its batcher."""

    def __init__(
        self,
        spec: ModelSpec,
        run: Run,
        *,
        slots: int,
        limits: BatchLimits,
        backlog: Backlog,
        meter: Meter,
        costs: Costs | None,
        draw_s: float = 0.0,
        wake: Callable[[], None],
        fingerprint: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`wake` is called whenever there is work; `clock` tells seconds, and only forward.

        `costs` are None where messages bring their shapes: what such runs take is seen when they
        run. `draw_s`: what drawing a token takes at the most.
        """
        if not spec.has_time:
            # A chunk is cut into single steps, each a run.
            limits = replace(limits, max_block_steps=1)
        self.spec = spec
        self.run = run
        self.fingerprint = fingerprint
        self.shapes = Shapes(spec)
        self.form: Form = Shaped(spec) if spec.is_shaped else Regular(spec)
        self.slots = _slots(spec, slots, limits.max_rows)
        self.costs = costs
        self.pace = Pace()
        self.batcher: Batcher | ShapedBatcher
        if costs is None:
            self.batcher = ShapedBatcher(limits, self.alike)
        else:
            self.batcher = Batcher(limits, costs)
        self.statistics = Statistics()
        self.backlog = backlog
        self.meter = meter
        self.now_s = clock
        self.sessions: dict[str, Session] = {}
        """Those with a slot here; the session table adds and removes them."""
        self.guests: set[Session] = set()
        """Each stands for a request that belongs to no session, until it is answered."""
        self.generations: set[Generation] = set()
        """Those that have begun and not ended."""
        self.waiting_steps = 0
        self.hurried = False
        """Whether a chunk ever had a deadline."""
        self.awake = False
        """Whether somebody is about to take batches until none is left."""
        self.retries: list[Batch] = []
        """Rows of a batch that failed, each to be run alone."""
        self.running: Batch | None = None
        """The batch that was taken and is not finished."""
        self._step_s = costs.expected_s(limits.max_rows, 1) / limits.max_rows if costs else 0.0
        """What a step costs in a full batch."""
        self._draw_s = draw_s
        # Steps of no bytes at all are not told apart by their length.
        self._first_step_bytes = max(1, spec.inputs[0].step_bytes) if not spec.is_shaped else 1
        self._step_bytes = spec.step_bytes
        self._gone: Refusal | None = None
        self._wake = wake

    @property
    def is_gone(self) -> bool:
        """Whether everybody was told that nothing is run any more."""
        return self._gone is not None

    @property
    def has_work(self) -> bool:
        """Whether a batch can be taken."""
        return bool(self.batcher or self.retries)

    def finds_no_room(self, session: Session, index: int, inputs: Memory) -> bool:
        """Whether this is a new chunk, and not even one of a single step would be taken in: what
        `submit` would find, without anything made for it. Only where messages don't bring shapes.

        Raises Refusal for what else is wrong with it.
        """
        if self._gone is not None or self.backlog.has_room(1, self._step_bytes):
            return False
        return session.begin(index, len(inputs[0]) // self._first_step_bytes, inputs) is None

    def expected_s(self, batch: Batch) -> float:
        """About how long a batch will take, with the drawing."""
        if self.costs is None:
            return self.pace.expected_s((batch.rows, self.alike(batch.chunks[0])))
        run_s = self.costs.expected_s(batch.rows, batch.steps)
        return run_s + len(batch.generations) * self._draw_s

    @property
    def vocabulary(self) -> int:
        """How many tokens there are, where the model predicts tokens."""
        return self.spec.outputs[0].shape[-1]

    def submit(
        self,
        session: Session,
        index: int,
        inputs: Memory,
        listener: Listener,
        now_s: float,
        timeout_s: float = math.inf,
        *,
        shapes: tuple[Shape, ...] | None = None,
        rows: int = 1,
        is_last: bool = False,
    ) -> None:
        """Take T steps, checked before; the listener is told the answered Chunk or the Refusal.

        Now for a resend, otherwise later. Raises Refusal where the chunk isn't taken at all; then
        nothing has changed and the listener isn't called.
        """
        if self._gone is not None:
            raise self._gone.again()
        steps = len(inputs[0]) // self._first_step_bytes if shapes is None else 1
        # The common case first: the next single step of a session that waits for it.
        if index != session.admitted or session.pending or steps > 1:
            earlier = session.begin(index, steps, inputs, shapes)
            if earlier is not None:
                self._repeat(earlier, listener)
                return
        if timeout_s != math.inf and self.waiting_steps * self._step_s > timeout_s:
            raise too_late(self.waiting_steps * self._step_s)
        size_bytes = steps * self._step_bytes if shapes is None else sum(map(len, inputs))
        if not self.backlog.take_in(steps, size_bytes):
            raise self.backlog.refusal(self.waiting_steps * self._step_s)
        chunk = Chunk(session, index, steps, inputs, now_s, listener)
        if timeout_s != math.inf:
            chunk.deadline_s = now_s + timeout_s
            self.hurried = True
        if shapes is not None:
            chunk.shapes, chunk.rows, chunk.size_bytes = shapes, rows, size_bytes
        if is_last:
            chunk.is_last = True
        self.waiting_steps += steps
        if session.admit(chunk):
            self.batcher.add(chunk)
            if not self.awake:
                self._rouse()

    def visit(
        self,
        inputs: Memory,
        shapes: tuple[Shape, ...],
        rows: int,
        listener: Listener,
        now_s: float,
        timeout_s: float = math.inf,
    ) -> None:
        """Take a request that stands alone, of B rows; told and refused as by `submit`."""
        queue = self.spec.queue
        if 0 < queue.max_waiting <= len(self.guests):
            raise Refusal(
                Reason.OVERLOADED,
                f"{len(self.guests)} requests wait already; at most {queue.max_waiting}",
                retry_after_s=LEAST_RETRY_S,
                limit=queue.max_waiting,
            )
        timeout_s = min(timeout_s, queue.timeout_s or math.inf)
        guest = Session("", NOBODYS, GUEST)

        def told(outcome: Chunk | Refusal) -> None:
            self.guests.discard(guest)
            listener(outcome)

        self.guests.add(guest)
        try:
            self.submit(guest, 0, inputs, told, now_s, timeout_s, shapes=shapes, rows=rows)
        except BaseException:
            self.guests.discard(guest)
            raise

    def alike(self, chunk: Chunk) -> Hashable:
        """What has to be equal for two chunks that bring their shapes to share a batch."""
        return chunk.shapes, self.slots.shapes(chunk.session.lease)

    def let_go(self, chunks: Sequence[Chunk], steps: int) -> None:
        """Chunks of so many steps in all are answered, one way or the other."""
        self.waiting_steps -= steps
        if self.costs is None:
            self.backlog.let_go(steps, sum([chunk.size_bytes for chunk in chunks]))
        else:
            self.backlog.let_go(steps, steps * self._step_bytes)

    def drop(self, chunk: Chunk, refusal: Refusal) -> None:
        """Refuse a chunk that was taken in. The session stays where it was before it, and so do the
        chunks behind it."""
        session = chunk.session
        dropped = session.abort(chunk)
        session.failures += len(dropped)
        session.answered_s = self.now_s()
        self.let_go(dropped, sum(chunk.steps for chunk in dropped))
        self.statistics.failed()
        if session.pending:
            self.batcher.add(session.pending[0])
            if not self.awake:
                self._rouse()
        chunk.settle(refusal)
        for later in dropped[1:]:
            later.settle(
                Refusal(
                    Reason.INDEX_GAP,
                    f"an earlier chunk was not taken; step {session.steps} is the next one",
                    expected=session.steps,
                )
            )

    def withdraw(self, chunk: Chunk, refusal: Refusal) -> None:
        """Drop a chunk that nobody wants, now or, where a block of it runs, right after that."""
        if self.batcher.remove(chunk):
            self.undo(chunk, refusal)
        else:
            chunk.withdrawn = refusal

    def undo(self, chunk: Chunk, refusal: Refusal) -> None:
        """Drop a chunk some of whose blocks may have run."""
        if chunk.carry_before is not None:
            self.slots.write(chunk.session.lease, chunk.carry_before)
        self.drop(chunk, refusal)

    def add_generation(self, generation: Generation) -> None:
        """A generation has a token to be taken."""
        if self._gone is not None:
            raise self._gone.again()
        self.batcher.add_generation(generation)
        if not self.awake:
            self._rouse()

    def abandon(self, refusal: Refusal) -> None:
        """Answer everything that waits, now or later, with `refusal`: the ticker is gone."""
        self._gone = refusal
        for session in self.movers():
            for chunk in list(session.pending):
                chunk.settle(refusal)
        for generation in list(self.generations):
            generation.fail(refusal)

    def movers(self) -> list[Session]:
        """All in which something may be under way."""
        return [*self.sessions.values(), *self.guests]

    def scores(self, answer: Memory) -> np.ndarray:
        """What an answer holds, as an array (T, V); a view."""
        tensor = self.spec.outputs[0]
        return np.frombuffer(answer[0], tensor.dtype).reshape(-1, *tensor.shape)

    def token_memory(self, token: int) -> bytes:
        """A token as one step's input."""
        return token.to_bytes(self.spec.inputs[0].dtype.itemsize, "little")

    def _rouse(self) -> None:
        self.awake = True
        self._wake()

    def _repeat(self, earlier: Chunk, listener: Listener) -> None:
        if earlier.others is not None and len(earlier.others) >= MOST_WAITING_FOR_ONE:
            raise Refusal(
                Reason.TOO_MANY_PENDING,
                f"{MOST_WAITING_FOR_ONE} wait for the answer to this step already",
                retry_after_s=0.01,
                limit=MOST_WAITING_FOR_ONE,
            )
        earlier.session.resends += 1
        self.meter.resent(self.spec.name)
        if earlier.answer is None:
            earlier.then(listener)
        else:
            listener(earlier)


def too_late(late_s: float) -> Refusal:
    return Refusal(
        Reason.TOO_LATE,
        "the step can't be answered within its timeout; it has not run",
        retry_after_s=min(max(late_s, 0.01), 5.0),
    )


def _slots(spec: ModelSpec, capacity: int, max_rows: int) -> Slots | LooseSlots | NoSlots:
    if not spec.is_sequential:
        return NoSlots()
    beginning = initial.beginning(spec)
    if all(entry.is_fixed for entry in spec.carry):
        return Slots(spec.carry, capacity, max_rows, beginning)
    return LooseSlots(spec.carry, capacity, beginning)
