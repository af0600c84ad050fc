"""What stands where gRPC's context does when a generation is written to a response.

Source: the WHATWG HTML standard's "Server-sent events".
"""

import asyncio
from collections.abc import Callable

from aiohttp import web

from rnnserve.errors import Refusal
from rnnserve.v1 import rnnserve_pb2 as v1
from rnnserve.wire.http.refusals import text_of

LAST_WORDS_S = 1.0
"""How long an error waits for a client that reads slowly."""


class WholeText:
    """Collects a generation as one reply."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._end: v1.GenerateEnd | None = None

    @property
    def reply(self) -> v1.GenerateReply:
        """All that was written."""
        return v1.GenerateReply(text="".join(self._texts), end=self._end)

    async def write(self, message: v1.GenerateReply, /) -> None:
        self._texts.append(message.text)
        self._end = message.end if message.HasField("end") else None


class Events:
    """Sends a generation as server-sent events.

    The response begins with the first of them, so that what is refused before has a status of its
    own. A write waits for a client that reads slowly.
    """

    def __init__(
        self, request: web.Request, text_of_reply: Callable[[v1.GenerateReply], str]
    ) -> None:
        self._request = request
        self._text_of_reply = text_of_reply
        self.response = web.StreamResponse(
            headers={
                "Content-Type": "text/event-stream; charset=utf-8",
                "Cache-Control": "no-cache",
                # Otherwise nginx collects them.
                "X-Accel-Buffering": "no",
            }
        )

    @property
    def begun(self) -> bool:
        """Whether the client has been told that all is well."""
        return self.response.prepared

    async def write(self, message: v1.GenerateReply, /) -> None:
        await self._send(self._text_of_reply(message))

    async def fail(self, refusal: Refusal) -> None:
        """The last event; a client that doesn't take it loses the connection."""
        if self._request.protocol.writing_paused:
            # A write before this one was given up.
            self._abort()
            return
        try:
            async with asyncio.timeout(LAST_WORDS_S):
                await self._send(text_of(refusal))
                await self.response.write_eof()
        except TimeoutError:
            self._abort()

    def _abort(self) -> None:
        """Drop the connection with all that waits to be sent on it."""
        if self._request.transport is not None:
            self._request.transport.abort()

    async def _send(self, text: str) -> None:
        if not self.begun:
            await self.response.prepare(self._request)
        # JSON has no line breaks of its own: an event is one line.
        await self.response.write(f"data: {text}\n\n".encode())
