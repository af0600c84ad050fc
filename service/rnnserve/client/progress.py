"""Where a session stands: the index of its next step, and what its chunks look like on the wire."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import ArrayLike

from rnnserve.client.codec import Encoded, decode, encode, read_tensor
from rnnserve.client.errors import BadInput, ServerError, from_status
from rnnserve.client.facts import read_limits
from rnnserve.errors import Reason
from rnnserve.v1 import rnnserve_pb2 as pb

Answer = Any
"""A chunk's outputs, each (T, *shape): the array itself when the model has one output, else a dict
from name to array."""

# Tags, lengths, id and index of a step in its frame.
STEP_OVERHEAD_BYTES = 256


@dataclass(frozen=True)
class Chunk:
    """A chunk that has taken its place in the session."""

    operation: pb.Operation
    index: int
    steps: int
    attempt: int


class Progress:
    """The client's side of one session; knows neither threads nor loops.

    A chunk takes its index in `begin`. When one fails, the session on the server stands where that
    chunk began, and so does `index` here; the chunks sent behind it fail with index_gap and change
    nothing more, which is what `attempt` tells apart from the chunks begun since.
    """

    def __init__(self, opened: pb.Opened) -> None:
        self.id = opened.session_id
        self.version = opened.version
        self.inputs = tuple(map(read_tensor, opened.inputs))
        self.outputs = tuple(map(read_tensor, opened.outputs))
        self.limits = read_limits(opened.limits)
        self.index = 0
        self._attempt = 0

    def encode(self, arrays: Sequence[ArrayLike]) -> Encoded:
        """The chunk as bytes; raises BadInput and leaves everything as it was."""
        encoded = encode(arrays, self.inputs)
        limit = self.limits.max_frame_bytes
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

    def begin(self, encoded: Encoded) -> Chunk:
        """Takes the chunk's place, behind all that have begun."""
        step = pb.Step(session_id=self.id, index=self.index, inputs=encoded.inputs)
        chunk = Chunk(pb.Operation(step=step), self.index, encoded.steps, self._attempt)
        self.index += encoded.steps
        return chunk

    def failed(self, chunk: Chunk) -> None:
        """The chunk has no answer; the next one begins where it began."""
        if chunk.attempt == self._attempt:
            self.index = chunk.index
            self._attempt += 1

    def answer(self, chunk: Chunk, event: pb.Event) -> Answer:
        """The chunk's outputs; raises ServerError when the server refused it."""
        stepped = checked(event).stepped
        try:
            outputs = decode(stepped.outputs, self.outputs, chunk.steps)
        except ValueError as error:
            raise ServerError(
                Reason.INTERNAL, f"the answer is not what the server announced: {error}"
            ) from None
        if len(outputs) == 1:
            return outputs[0]
        return {tensor.name: array for tensor, array in zip(self.outputs, outputs, strict=True)}

    def closing(self) -> pb.Operation:
        return pb.Operation(close=pb.Close(session_id=self.id))


def opening(model: str, version: int) -> pb.Operation:
    return pb.Operation(open=pb.Open(model=model, version=version))


def checked(event: pb.Event) -> pb.Event:
    """The event, unless it is an error: that is raised as ServerError."""
    if event.HasField("error"):
        raise from_status(event.error)
    return event
