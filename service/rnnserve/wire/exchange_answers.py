"""The answers to a frame that came alone, in one message."""

import asyncio

from google.rpc.status_pb2 import Status

from rnnserve.engine.chunk import Chunk
from rnnserve.engine.model import Model
from rnnserve.v1 import rnnserve_pb2 as v1
from rnnserve.wire.replies import Replies
from rnnserve.wire.tracing import CallSpan

MAX_EXCHANGE_BYTES = 16 << 20
"""Of one unary reply, before what can wait is refused."""


class ExchangeAnswers:
    """The answers to one frame, in the operations' order."""

    def __init__(
        self, count: int, span: CallSpan | None = None, replies: Replies | None = None
    ) -> None:
        self.span = span
        self.is_abandoned = False
        self._replies = replies or Replies()
        self.frame = v1.EventFrame(events=[v1.Event() for _ in range(count)])
        self._left = count
        self._size_bytes = 0
        self._complete = asyncio.Event()
        if not count:
            self._complete.set()

    def stepped(
        self,
        place: int,
        operation_id: int,
        chunk: Chunk,
        model: Model,
        ready_s: float | None,
    ) -> None:
        if ready_s != self._replies.ready_s:
            self._replies.turn(model.spec.name, ready_s)
        self._replies.answers += 1
        stepped = v1.Stepped(
            index=chunk.index,
            outputs=chunk.answer,
            shapes=[v1.Shape(dims=shape) for shape in chunk.answer_shapes or ()],
        )
        self.put(place, v1.Event(id=operation_id, stepped=stepped))

    def refused(self, place: int, operation_id: int, error: Status) -> None:
        self.put(place, v1.Event(id=operation_id, error=error))

    def put(self, place: int, event: v1.Event) -> None:
        self.frame.events[place].CopyFrom(event)
        self._size_bytes += event.ByteSize()
        self._left -= 1
        if not self._left:
            self._complete.set()

    @property
    def is_full(self) -> bool:
        return self._size_bytes >= MAX_EXCHANGE_BYTES

    async def complete(self) -> v1.EventFrame:
        """The whole frame, once every operation is answered."""
        await self._complete.wait()
        self._replies.sent(self._replies.take())
        return self.frame
