"""One message's worth of steps on its way through the engine, and its answer.

Steps travel as memory, not as arrays: of 64 single steps, making, stacking and cutting arrays costs
80 us, joining and cutting bytes 6, and the run itself 590 (2 x 256 LSTM). Arrays exist for the
batch alone.
"""

import hashlib
import logging
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Union

from rnnserve.engine.slots import Rows
from rnnserve.errors import Refusal
from rnnserve.repository.spec import Shape

if TYPE_CHECKING:
    from rnnserve.engine.session import Session

logger = logging.getLogger(__name__)

Memory = tuple[bytes, ...]
"""T steps as they lie in memory, one entry a tensor: little-endian, row-major, T x one step."""

LARGEST_KEPT_INPUT_BYTES = 64
"""Of an input up to this size the bytes are kept for comparing, of a larger one a digest."""

Listener = Callable[[Union["Chunk", Refusal]], None]
"""Told once how a chunk ended: the chunk with its answer, or why it has none."""


class Chunk:
    """T steps of one session, moved forward block by block.

    Whoever waits for the answer is told exactly once, by `settle`.
    """

    # One is made for every step of every session: attributes that most never need are the class's.
    answer: Memory | None = None
    """What all its steps gave, in the spec's order."""
    deadline_s = math.inf
    """Answered later than this it is of no use to anyone."""
    done = 0
    """Steps that have run, where it takes several blocks."""
    started_s = 0.0
    """When the first of several blocks was taken."""
    blocks: list[Memory] | None = None
    carry_before: Rows | None = None
    """The session's carry before the first of several blocks."""
    others: list[Listener] | None = None
    """Who else waits, and what takes its turn behind it."""
    withdrawn: Refusal | None = None
    """Why it is to be dropped after the block that runs."""
    shapes: tuple[Shape, ...] | None = None
    """Of each input, without rows, where the message brought them; it is one step then."""
    answer_shapes: tuple[Shape, ...] | None = None
    """Of each output, without rows, where the shapes aren't the model's."""
    rows: int = 1
    """Where there is no session, a request may have several."""
    size_bytes: int = 0
    """Of its inputs, where the steps don't tell."""
    is_last: bool = False
    """Whether the caller says that nothing follows."""

    def __init__(
        self,
        session: "Session",
        index: int,
        steps: int,
        inputs: Memory,
        submitted_s: float,
        listener: Listener,
    ) -> None:
        self.session = session
        self.index = index
        """The time index of its first step."""
        self.steps = steps
        self.inputs = inputs
        self.submitted_s = submitted_s
        self.listener: Listener | None = listener
        """None once it is settled."""

    def block(self, steps: int) -> tuple[memoryview, ...]:
        """The next `steps` steps of every input."""
        blocks = []
        for memory in self.inputs:
            step_bytes = len(memory) // self.steps
            start = self.done * step_bytes
            blocks.append(memoryview(memory)[start : start + steps * step_bytes])
        return tuple(blocks)

    def advance(self, steps: int, outputs: Memory, started_s: float) -> bool:
        """The next of several blocks, taken at `started_s`, is done; returns whether all are."""
        if self.blocks is None:
            self.blocks, self.started_s = [], started_s
        self.done += steps
        self.blocks.append(outputs)
        if self.done < self.steps:
            return False
        columns = zip(*self.blocks, strict=True)
        self.answer = tuple(b"".join(blocks) for blocks in columns)
        self.blocks = self.carry_before = None
        return True

    def last_step(self) -> Memory:
        """What the last of its steps gave."""
        assert self.answer is not None
        return tuple(memory[-(len(memory) // self.steps) :] for memory in self.answer)

    def repeats(self, inputs: Memory, shapes: tuple[Shape, ...] | None = None) -> bool:
        """Whether these are its inputs."""
        return self.shapes == shapes and self.inputs in (inputs, _digest(inputs))

    def shrink(self) -> None:
        """Of a large input, keep only what tells it from another one."""
        if sum(map(len, self.inputs)) > LARGEST_KEPT_INPUT_BYTES:
            self.inputs = _digest(self.inputs)

    def settle(self, outcome: "Chunk | Refusal") -> None:
        """Tell everyone who waits, in the order they came; a second time tells nobody."""
        listener, self.listener = self.listener, None
        if listener is None:
            return
        self._tell(listener, outcome)
        # Who is told may bring others along. A kept chunk keeps nobody alive who has been told.
        while self.others:
            others, self.others = self.others, None
            for other in others:
                self._tell(other, outcome)

    def then(self, listener: Listener) -> None:
        """Tell this one too, behind all that came before."""
        if self.others is None:
            self.others = []
        self.others.append(listener)

    def _tell(self, listener: Listener, outcome: "Chunk | Refusal") -> None:
        try:
            listener(outcome)
        except Exception:
            # One caller's trouble must not keep the others from their answers.
            logger.exception("a listener failed on the outcome of step %d", self.index)


def _digest(inputs: Memory) -> Memory:
    digest = hashlib.blake2b(digest_size=32)
    for memory in inputs:
        digest.update(len(memory).to_bytes(8, "little"))
        digest.update(memory)
    return (digest.digest(),)
