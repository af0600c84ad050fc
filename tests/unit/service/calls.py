"""The wire without a network: calls with a client that may be slow, or vanish, on a loop whose
model runs when the test says so."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

from rnnserve.v1 import rnnserve_pb2 as v1
from rnnserve.wire.generate import Generations
from rnnserve.wire.operations import Operations
from rnnserve.wire.stream import Streams
from small_models import SmallModel
from synchronous_engine import SynchronousEngine

TURNS = 50
"""Of the loop: more than anything here takes that waits for nothing outside."""


class Client:
    """The other end of one call: stands in for gRPC's context."""

    def __init__(self, left_s: float | None = None) -> None:
        self.read: list = []
        self.reads = asyncio.Event()
        self.reads.set()
        self.meanwhile: Callable[[], object] = lambda: None
        """What goes on in the server while a message is written."""
        self._left_s = left_s

    async def write(self, message) -> None:
        await self.reads.wait()
        self.read.append(message)
        self.meanwhile()
        await asyncio.sleep(0)

    def time_remaining(self) -> float | None:
        return self._left_s


class Frames:
    """What a client sends on its stream; it goes on until `finish`."""

    def __init__(self) -> None:
        self.open = True
        self._queue: asyncio.Queue = asyncio.Queue()

    def send(self, *operations: v1.Operation) -> None:
        self._queue.put_nowait(v1.OperationFrame(operations=operations))

    def finish(self) -> None:
        self._queue.put_nowait(None)

    async def __aiter__(self) -> AsyncIterator[v1.OperationFrame]:
        try:
            while (frame := await self._queue.get()) is not None:
                yield frame
        finally:
            self.open = False


class Wire:
    """Streams and generations over an engine that is ticked by hand."""

    def __init__(self, model: SmallModel, **limits) -> None:
        self.outside = SynchronousEngine(model, **limits)
        self.operations = Operations(self.outside.engine, 4 << 20)
        self.streams = Streams(self.operations)
        self.generations = Generations(self.outside.engine, {})
        self.name = model.spec.name

    def generate(self, client: Client, ids: list[int], **fields) -> asyncio.Task[None]:
        """A generation, begun as the loop turns."""
        request = v1.GenerateRequest(tokens=v1.TokenIds(ids=ids), **fields)
        request.sampling.temperature = 0.0
        return asyncio.create_task(self.generations.serve(request, client))


async def turn() -> None:
    """Let the loop do all it can."""
    for _ in range(TURNS):
        await asyncio.sleep(0)


async def vanish(call: asyncio.Task[None]) -> None:
    """The client is gone: gRPC cancels the handler."""
    call.cancel()
    with suppress(asyncio.CancelledError):
        await call


def tasks() -> set[asyncio.Task]:
    """Those that run beside the test."""
    return asyncio.all_tasks() - {asyncio.current_task()}
