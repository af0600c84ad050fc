"""Who reads a generation, and who looks on."""

from collections.abc import Callable
from typing import Protocol

from rnnserve.engine.meter import Meter
from rnnserve.v1 import rnnserve_pb2 as v1
from rnnserve.wire.tracing import CallSpan


class Reader(Protocol):
    """Where a generation is written to: a call of gRPC's, or a response over HTTP."""

    async def write(self, message: v1.GenerateReply, /) -> None:
        """Send it; a reader that is slow holds the generation back."""


class Watched:
    """A reader, and the span that is told what is sent to it."""

    def __init__(self, reader: Reader, span: CallSpan) -> None:
        self._reader = reader
        self._span = span

    async def write(self, message: v1.GenerateReply) -> None:
        self._span.sent(len(message.tokens))
        await self._reader.write(message)


class Timed:
    """A reader, and the meter that is told when it got its tokens: of n tokens the first, and n - 1
    intervals. Those that travel together share the time since the message before."""

    def __init__(
        self,
        reader: Reader,
        model: str,
        arrived_s: float,
        meter: Meter,
        clock: Callable[[], float],
    ) -> None:
        """`arrived_s`: when the call came, by `clock`."""
        self._reader = reader
        self._model = model
        self._meter = meter
        self._now_s = clock
        self._arrived_s = arrived_s
        self._last_s: float | None = None

    async def write(self, message: v1.GenerateReply) -> None:
        await self._reader.write(message)
        count = len(message.tokens)
        if not count:
            return
        now_s = self._now_s()
        if self._last_s is None:
            self._meter.first_token(self._model, now_s - self._arrived_s)
            self._last_s, count = now_s, count - 1
        if count:
            self._meter.more_tokens(self._model, count, (now_s - self._last_s) / count)
        self._last_s = now_s
