"""One model being served: its slots, its batcher, its runner, and a tick that joins the three.

A tick is `take` (plan and gather), `compute` (the runner, in whatever thread) and `finish` (scatter
and commit). Carries are written only in `finish`, only after success, and only where the lease is
still current.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from rnnserve.engine.batcher import Batch, Batcher, BatchLimits
from rnnserve.engine.chunk import Chunk
from rnnserve.engine.meter import Meter
from rnnserve.engine.runner import Arrays
from rnnserve.engine.session import Session
from rnnserve.engine.slots import Slots
from rnnserve.errors import Reason, Refusal
from rnnserve.repository.spec import ModelSpec

Run = Callable[[Arrays, Arrays], tuple[Arrays, Arrays]]
"""`(carry, inputs) -> (carry, outputs)`: `Runner.run`, or a fake in its place."""


@dataclass(frozen=True, slots=True)
class Work:
    """A batch with its arrays, ready for the runner."""

    batch: Batch
    carry: Arrays  # each (B, ...)
    inputs: Arrays  # each (B, T, ...)


@dataclass(frozen=True, slots=True)
class Result:
    """What the runner gave, or `failure` where it raised."""

    carry: Arrays
    outputs: Arrays
    run_s: float
    failure: Exception | None = None


class Model:
    """The engine's part for one model version. The one owner of its slots and its batcher."""

    def __init__(
        self,
        spec: ModelSpec,
        run: Run,
        *,
        slots: int,
        limits: BatchLimits,
        meter: Meter,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.spec = spec
        self.slots = Slots(spec.carry, slots)
        self.batcher = Batcher(limits)
        self.sessions: dict[str, Session] = {}
        """Those with a slot here; the session table adds and removes them."""
        self._step_s = (0.0, 0.0)
        """Cost of a step: of a batch of any size at least, and of each row; by `warm_up`."""
        self._gone: Refusal | None = None
        self._run = run
        self._meter = meter
        self._clock = clock

    def warm_up(self) -> None:
        """Run the smallest and a middling batch a few times: what they cost, and what they give.

        Raises whatever the runner raises, and ValueError where its arrays aren't as the spec says.
        """
        rows, steps = min(16, self.batcher.limits.max_rows), 2
        costs_s = []
        for batch in (1, rows):
            carry = tuple(np.zeros((batch, *c.shape), c.dtype) for c in self.spec.carry)
            inputs = tuple(
                np.full((batch, steps, *t.shape), t.low or 0, t.dtype) for t in self.spec.inputs
            )
            times_s = []
            for _ in range(5):
                began_s = time.perf_counter()
                check_shapes(self.spec, batch, steps, *self._run(carry, inputs))
                times_s.append(time.perf_counter() - began_s)
            costs_s.append(min(times_s) / steps)
        self._step_s = (costs_s[0], costs_s[1] / rows)

    def expected_s(self, batch: Batch) -> float:
        """About how long a batch will take."""
        floor_s, row_s = self._step_s
        return max(floor_s, row_s * len(batch.rows)) * batch.steps

    def submit(self, chunk: Chunk) -> None:
        """Queue a chunk. Raises Refusal (overloaded), or what `abandon` was given."""
        if self._gone is not None:
            raise self._gone
        self.batcher.submit(chunk)

    def take(self) -> Work | None:
        """Plan the next batch and gather its arrays; None when nothing waits."""
        batch = self.batcher.take()
        return self._gather(batch) if batch else None

    def compute(self, work: Work) -> Result:
        """Run it. Touches nothing of the engine's, so any thread will do; never raises."""
        began_s = self._clock()
        try:
            carry, outputs = self._run(work.carry, work.inputs)
            check_shapes(self.spec, len(work.batch.rows), work.batch.steps, carry, outputs)
        except Exception as failure:
            return Result((), (), self._clock() - began_s, failure)
        return Result(carry, outputs, self._clock() - began_s)

    def finish(self, work: Work, result: Result) -> list[Work]:
        """Write the carries, commit what is complete, answer.

        Returns work to be done at once: where a batch of several rows failed, each row alone, so
        that only the guilty one fails.
        """
        rows, steps = work.batch.rows, work.batch.steps
        self._meter.ran(self.spec.name, len(rows), steps, result.run_s)
        if result.failure is not None:
            if len(rows) > 1:
                return [self._gather(Batch((chunk,), steps)) for chunk in rows]
            self._fail(rows[0], result.failure)
            return []
        for row, chunk in enumerate(rows):
            if chunk.carry_before is None and chunk.remaining > steps:
                chunk.carry_before = tuple(array[row].copy() for array in work.carry)
        self.slots.scatter([chunk.lease for chunk in rows], result.carry)
        for row, chunk in enumerate(rows):
            # A copy, so that a kept reply does not keep the whole batch alive.
            chunk.advance(steps, tuple(array[row].copy() for array in result.outputs))
            if chunk.remaining:
                self.batcher.put_back(chunk, steps)
            else:
                self._commit(chunk, steps)
        return []

    def abandon(self, refusal: Refusal) -> None:
        """Answer every chunk that waits, now or later, with `refusal`: the ticker is gone."""
        self._gone = refusal
        for session in list(self.sessions.values()):
            for chunk in list(session.pending):
                chunk.settle(refusal)

    def audit(self) -> list[str]:
        """What is wrong between slots, leases and sessions, in words."""
        wrong = self.slots.audit()
        held = self.slots.capacity - self.slots.free_count
        if held != len(self.sessions):
            wrong.append(f"{held} slots are held by {len(self.sessions)} sessions")
        wrong += [
            f"session {session.id} has lost its lease"
            for session in self.sessions.values()
            if not self.slots.holds(session.lease)
        ]
        idle = all(not session.pending for session in self.sessions.values())
        if idle and self.batcher.waiting_steps:
            wrong.append(f"{self.batcher.waiting_steps} steps wait, and no session waits for them")
        return wrong

    def _gather(self, batch: Batch) -> Work:
        now_s = self._clock()
        for chunk in batch.rows:
            if chunk.started_s is None:
                chunk.started_s = now_s
        blocks = [chunk.block(batch.steps) for chunk in batch.rows]
        inputs = tuple(np.stack(column) for column in zip(*blocks, strict=True))  # (B, T, ...)
        carry = self.slots.gather([chunk.lease for chunk in batch.rows])  # (B, ...)
        return Work(batch, carry, inputs)

    def _commit(self, chunk: Chunk, steps: int) -> None:
        session = self.sessions[chunk.session_id]
        reply = session.commit(chunk)
        self.batcher.finish(chunk, steps)
        now_s = self._clock()
        session.answered_s = now_s
        queue_s = (chunk.started_s or now_s) - chunk.submitted_s
        self._meter.answered(self.spec.name, chunk.steps, queue_s, now_s - chunk.submitted_s)
        chunk.settle(reply)

    def _fail(self, chunk: Chunk, failure: Exception) -> None:
        """The session goes back to where it was before the chunk, and so do those behind it."""
        if chunk.carry_before is not None:
            before = tuple(row[np.newaxis] for row in chunk.carry_before)
            self.slots.scatter([chunk.lease], before)
        session = self.sessions[chunk.session_id]
        self.batcher.drop_behind(chunk.session_id)
        self.batcher.finish(chunk, chunk.remaining)
        behind = session.abort(chunk)
        refusal = Refusal(
            Reason.MODEL_FAILED,
            "the model failed on this input; the session is as before",
            expected=session.steps,
        )
        refusal.__cause__ = failure
        chunk.settle(refusal)
        for later in behind:
            later.settle(
                Refusal(
                    Reason.INDEX_GAP,
                    f"an earlier chunk failed; step {session.steps} is the next one",
                    expected=session.steps,
                )
            )


def check_shapes(spec: ModelSpec, rows: int, steps: int, carry: Arrays, outputs: Arrays) -> None:
    """Hold what a run gave against the spec; a graph's symbolic dimensions promise nothing.

    Raises ValueError, which names the tensor: an array of one row would otherwise be broadcast over
    every session of the batch.
    """
    wanted = [(c.output_name, c.dtype, (rows, *c.shape)) for c in spec.carry]
    wanted += [(t.name, t.dtype, (rows, steps, *t.shape)) for t in spec.outputs]
    for (name, dtype, shape), array in zip(wanted, carry + outputs, strict=True):
        if array.shape != shape or array.dtype != dtype:
            raise ValueError(f"{name!r} came as {array.dtype}{array.shape}, not {dtype}{shape}")
