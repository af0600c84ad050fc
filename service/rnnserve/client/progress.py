"""Where a session stands: the index of its next step, and what its operations look like."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from numpy.typing import ArrayLike

from rnnserve.client.carry import Carry, initial_carry
from rnnserve.client.codec import (
    Encoded,
    Tensor,
    decode,
    decode_shaped,
    encode,
    encode_shaped,
    read_tensor,
)
from rnnserve.client.errors import BadInput, ServerError
from rnnserve.client.facts import Limits, read_limits
from rnnserve.client.frames import fitting
from rnnserve.client.generation import End
from rnnserve.client.outcome import Outcome
from rnnserve.errors import Reason
from rnnserve.v1 import rnnserve_pb2 as pb

Answer = Any
"""A chunk's outputs, each (T, *shape): the array itself when the model has one output, else a dict
from name to array."""

# Tags, lengths, id, index and timeout of a step in its frame.
STEP_OVERHEAD_BYTES = 256
NOWHERE = 2**63 - 1
"""An index at which no session will ever stand: at a million steps a second, in 292,000 years."""


class Chunk(NamedTuple):
    """A chunk that has taken its place in the session."""

    operation: pb.Operation
    start: int
    """The index of its first step."""
    steps: int
    attempt: int


@dataclass(frozen=True)
class Origin:
    """What a session shares with its forks."""

    version: int
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    carry: tuple[Tensor, ...]
    limits: Limits
    is_shaped: bool = False
    """Whether each step brings its shapes, and is one step."""


class Progress:
    """The client's side of one session; knows neither threads nor loops.

    A chunk takes its index in `begin`. When one fails, the session on the server stands where that
    chunk began, and so does `index` here; the chunks sent behind it fail with index_gap and change
    nothing more, which is what `attempt` tells apart from the chunks begun since.

    `lost`: a generation moves the session, or did, and has not said how far. The server is then
    asked before anything else is sent.
    """

    def __init__(self, session_id: str, index: int, origin: Origin) -> None:
        self.id = session_id
        self.index = index
        self.origin = origin
        self.lost = False
        self._generating = False
        self._attempt = 0

    @classmethod
    def of(cls, opened: pb.Opened) -> Self:
        origin = Origin(
            version=opened.version,
            inputs=tuple(map(read_tensor, opened.inputs)),
            outputs=tuple(map(read_tensor, opened.outputs)),
            carry=tuple(map(read_tensor, opened.carry)),
            limits=read_limits(opened.limits),
            is_shaped=opened.shaped,
        )
        return cls(opened.session_id, opened.index, origin)

    def forked(self, session_id: str, index: int) -> "Progress":
        return Progress(session_id, index, self.origin)

    # ---- steps

    def encode(self, arrays: Sequence[ArrayLike]) -> Encoded:
        """The chunk as bytes; raises BadInput and leaves everything as it was."""
        shaped = self.origin.is_shaped
        encoded = (encode_shaped if shaped else encode)(arrays, self.origin.inputs)
        limit = self.origin.limits.max_frame_bytes
        size = sum(map(len, encoded.inputs)) + len(self.id) + STEP_OVERHEAD_BYTES
        # A frame over the limit would end the stream for every session on it.
        if limit and size > limit:
            raise BadInput(
                Reason.FRAME_TOO_LARGE,
                f"a chunk of {encoded.steps} steps takes {size} bytes, the server's frames hold "
                f"{limit}: send fewer steps at once",
                limit=limit,
            )
        return encoded

    def begin(self, encoded: Encoded, timeout_us: int = 0) -> Chunk:
        """Takes the chunk's place, behind all that have begun."""
        # Field by field, in place: half the cost of building the messages one in the other.
        operation = pb.Operation()
        step = operation.step
        step.session_id = self.id
        step.index = self.index
        step.inputs.extend(encoded.inputs)
        if encoded.shapes:
            step.shapes.extend([pb.Shape(dims=shape) for shape in encoded.shapes])
        if timeout_us:
            step.timeout_us = timeout_us
        chunk = Chunk(operation, self.index, encoded.steps, self._attempt)
        self.index += encoded.steps
        return chunk

    def failed(self, chunk: Chunk) -> None:
        """The chunk has no answer; the next one begins where it began."""
        if chunk.attempt == self._attempt:
            self.index = chunk.start
            self._attempt += 1

    def answer(self, chunk: Chunk, event: pb.Event) -> Answer:
        """The chunk's outputs; raises ServerError where they aren't what they should be."""
        tensors = self.origin.outputs
        try:
            stepped = event.stepped
            if self.origin.is_shaped:
                shapes = [tuple(shape.dims) for shape in stepped.shapes]
                outputs = decode_shaped(stepped.outputs, tensors, shapes)
            else:
                outputs = decode(stepped.outputs, tensors, chunk.steps)
        except ValueError as error:
            raise ServerError(
                Reason.INTERNAL, f"the answer is not what the server announced: {error}"
            ) from None
        if len(outputs) == 1:
            return outputs[0]
        return {tensor.name: array for tensor, array in zip(tensors, outputs, strict=True)}

    # ---- the other operations; each raises BadInput for what the server can't be asked

    def resetting(
        self, carry: Carry | None = None, seed: int | None = None, scale: float | None = None
    ) -> pb.Operation:
        """Behind all that have begun."""
        initial = initial_carry(carry, seed, scale, self.origin.carry)
        reset = pb.Reset(session_id=self.id, index=self.index, carry=initial)
        limit = self.origin.limits.max_frame_bytes
        return fitting(pb.Operation(reset=reset), limit, "the carry")

    def forking(self, count: int) -> pb.Operation:
        if count < 1:
            raise BadInput(Reason.MALFORMED, f"a fork makes 1 session or more, not {count}")
        try:
            fork = pb.Fork(session_id=self.id, count=count, index=self.index)
        except ValueError as error:
            raise BadInput(Reason.TOO_MANY_FORKS, f"fork: {error}") from None
        return pb.Operation(fork=fork)

    def exporting(self) -> pb.Operation:
        return pb.Operation(export=pb.Export(session_id=self.id, index=self.index))

    # ---- generations, and what they leave behind

    def generates(self) -> None:
        """A generation of ours moves the session from now on."""
        self.lost = self._generating = True

    def generated(self, end: End | None) -> None:
        """It ended; without an `end` nobody knows where."""
        self._generating = False
        if end is not None:
            self._stands(end.index)

    def asking(self) -> pb.Operation:
        """Asks where the session stands: a reset that is refused, and the refusal says it."""
        return pb.Operation(reset=pb.Reset(session_id=self.id, index=NOWHERE))

    def told(self, outcome: Outcome) -> ServerError | None:
        """Takes the answer to `asking`. What it returns is the error of a session that still
        generates for a call that was left: ask again. Raises every other ServerError."""
        if not isinstance(outcome, ServerError):
            raise ServerError(Reason.INTERNAL, "the server reset a session where it never stood")
        if outcome.reason == Reason.INDEX_GAP and "expected" in outcome.facts:
            self._stands(int(outcome.facts["expected"]))
            return None
        if outcome.reason == Reason.SESSION_BUSY and not self._generating:
            return outcome
        raise outcome

    def _stands(self, index: int) -> None:
        self.index = index
        self.lost = False
        self._attempt += 1


def timeout_us(timeout_s: float | None) -> int:
    """A step's timeout as the contract has it, 0 for none; raises BadInput (too_late)."""
    if timeout_s is None or timeout_s == math.inf:
        return 0
    if not timeout_s > 0:
        raise BadInput(Reason.TOO_LATE, f"nothing is left of the step's time: {timeout_s} s")
    return min(math.ceil(timeout_s * 1e6), 2**63)


def opening(model: str, version: int, carry: pb.InitialCarry | None = None) -> pb.Operation:
    return pb.Operation(open=pb.Open(model=model, version=version, carry=carry))


def closing(session_id: str) -> pb.Operation:
    return pb.Operation(close=pb.Close(session_id=session_id))


def importing(model: str, version: int, blob: bytes) -> pb.Operation:
    return pb.Operation(import_blob=pb.Import(model=model, version=version, blob=blob))


def other_carry(model: str, version: int) -> ServerError:
    """The newest version is another one than when the carry's names were looked up."""
    return ServerError(
        Reason.BAD_CARRY,
        f"{model} is version {version} by now, with another carry: nothing was opened, try again",
        retry_after_s=0.0,
    )
