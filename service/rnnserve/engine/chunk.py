"""One message's worth of steps on its way through the engine, and its outcome."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from rnnserve.engine.slots import Lease, Rows
from rnnserve.errors import Refusal

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Reply:
    """What a chunk's steps gave; `outputs` are in the spec's order, each (T, ...)."""

    index: int
    outputs: Rows


Listener = Callable[[Reply | Refusal], None]
"""Told once how a chunk ended."""


@dataclass(eq=False, slots=True)
class Chunk:
    """T steps of one session. The batcher moves `done` forward block by block.

    Whoever waits for the answer is in `listeners`; each is told exactly once, by `settle`.
    """

    session_id: str
    lease: Lease
    index: int
    steps: int
    inputs: Rows  # each (T, ...)
    digest: bytes
    submitted_s: float
    listeners: list[Listener] = field(default_factory=list)
    done: int = 0
    started_s: float | None = None
    outputs: list[Rows] = field(default_factory=list)
    carry_before: Rows | None = None

    @property
    def remaining(self) -> int:
        return self.steps - self.done

    def block(self, steps: int) -> Rows:
        """The next `steps` steps of every input, each (steps, ...)."""
        return tuple(array[self.done : self.done + steps] for array in self.inputs)

    def advance(self, steps: int, outputs: Rows) -> None:
        """Note that the next block is done; `outputs` each (steps, ...), kept as they are."""
        self.done += steps
        self.outputs.append(outputs)

    def reply(self) -> Reply:
        """All outputs together, each (T, ...)."""
        if len(self.outputs) == 1:
            return Reply(self.index, self.outputs[0])
        columns = zip(*self.outputs, strict=True)
        return Reply(self.index, tuple(np.concatenate(blocks) for blocks in columns))

    def settle(self, outcome: Reply | Refusal) -> None:
        """Tell everyone who waits; a second time tells nobody."""
        listeners, self.listeners = self.listeners, []
        for listener in listeners:
            try:
                listener(outcome)
            except Exception:
                # One caller's trouble must not keep the others from their answers.
                logger.exception("a listener failed on the outcome of step %d", self.index)
