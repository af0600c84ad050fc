"""The bidirectional stream of frames, and its unary twin."""

import asyncio
from collections.abc import AsyncIterator

from rnnserve.errors import Refusal
from rnnserve.v1 import rnnserve_pb2 as v1
from rnnserve.wire.guard import Context
from rnnserve.wire.methods import well_formed
from rnnserve.wire.operations import Operations
from rnnserve.wire.outbox import Outbox

MAX_UNDER_WAY = 4096
"""Operations of one stream that were read and whose answers are not written yet."""
MAX_EVENTS_BYTES = 1 << 20
"""Answers that are ready together travel together, up to about this size."""


class Streams:
    """The streams that are open now."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations
        self._outboxes: set[Outbox[v1.Event]] = set()

    async def serve(self, frames: AsyncIterator[v1.OperationFrame], context: Context) -> None:
        """Read, apply and answer until the client has said all and has all its answers."""
        outbox: Outbox[v1.Event] = Outbox(MAX_UNDER_WAY)
        self._outboxes.add(outbox)
        reader = asyncio.create_task(self._read(frames, outbox))
        try:
            while events := await outbox.take():
                for frame in split(events):
                    await context.write(frame)
        finally:
            self._outboxes.discard(outbox)
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)

    async def exchange(self, frame: v1.OperationFrame) -> v1.EventFrame:
        """One frame in, one frame out with all its events, in the operations' order."""
        self._operations.check_count(frame)
        outbox: Outbox[tuple[int, v1.Event]] = Outbox(len(frame.operations) + 1)
        for _ in frame.operations:
            outbox.promise()
        outbox.finish()
        self._operations.apply_frame(frame, lambda place, event: outbox.put((place, event)))
        events: dict[int, v1.Event] = {}
        while ready := await outbox.take():
            events.update(ready)
        return v1.EventFrame(events=(events[place] for place in sorted(events)))

    def cut(self, refusal: Refusal) -> None:
        """End every stream: what is ready is still written."""
        for outbox in self._outboxes:
            outbox.fail(refusal)

    async def _read(
        self, frames: AsyncIterator[v1.OperationFrame], outbox: Outbox[v1.Event]
    ) -> None:
        try:
            async for frame in frames:
                well_formed(frame)
                self._operations.check_count(frame)
                await outbox.room()
                for _ in frame.operations:
                    outbox.promise()
                self._operations.apply_frame(frame, lambda _, event: outbox.put(event))
        except Exception as error:
            outbox.fail(error)
        outbox.finish()


def split(events: list[v1.Event]) -> list[v1.EventFrame]:
    """The events in as few frames as the size allows."""
    frames, size_bytes = [v1.EventFrame()], 0
    for event in events:
        event_bytes = event.ByteSize()
        if size_bytes and size_bytes + event_bytes > MAX_EVENTS_BYTES:
            frames.append(v1.EventFrame())
            size_bytes = 0
        frames[-1].events.append(event)
        size_bytes += event_bytes
    return frames
