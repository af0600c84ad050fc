"""Where the answers to a frame's operations go."""

from typing import Protocol

from google.rpc.status_pb2 import Status

from rnnserve.engine.chunk import Chunk
from rnnserve.engine.model import Model
from rnnserve.v1 import rnnserve_pb2 as v1
from rnnserve.wire.tracing import CallSpan


class Answers(Protocol):
    """Where the operations of a frame leave their answers, one each."""

    span: CallSpan | None
    """Of the call, where it is traced."""
    is_abandoned: bool
    """Whether nobody reads any more."""

    def stepped(
        self,
        place: int,
        operation_id: int,
        chunk: Chunk,
        model: Model,
        ready_s: float | None,
    ) -> None:
        """The answer to a step, at this place of its frame. `ready_s`: since when it is there, on
        the engine's clock; None: it was sent before."""

    def refused(self, place: int, operation_id: int, error: Status) -> None:
        """The answer to an operation that came to nothing."""

    def put(self, place: int, event: v1.Event) -> None:
        """Any other answer."""

    @property
    def is_full(self) -> bool:
        """Whether no more answers should be made that the client hasn't read."""
