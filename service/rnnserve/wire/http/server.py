"""The HTTP server: its connections, how it begins and how it ends.

aiohttp in the loop that everything else runs in. Bodies are bounded before they are read and never
decompressed: a small one could become a gigabyte. There are no access log and no name of a version.
"""

import asyncio
from collections.abc import Iterable
from typing import Any

from aiohttp import web

from rnnserve.engine.meter import Meter
from rnnserve.wire.http.document import malformed
from rnnserve.wire.http.guard import Guard, named
from rnnserve.wire.http.refusals import response_of
from rnnserve.wire.status import internal
from rnnserve.wire.tracing import UNTRACED, Tracer


class Connection(web.RequestHandler):
    """A client's connection. Bytes that are no HTTP reach no handler, and are answered here."""

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if request.writer.output_size > 0:
            raise ConnectionError("the response has begun")
        if status == 400:
            refusal = malformed("the bytes are not an HTTP request")
        else:
            refusal = internal(exc if isinstance(exc, Exception) else TimeoutError())
        response = named(response_of(refusal))
        response.force_close()
        return response


class HttpServer:
    """Serves routes, from `start` to `stop`."""

    def __init__(
        self,
        routes: Iterable[web.RouteDef],
        meter: Meter,
        *,
        max_body_bytes: int,
        allow_origin: str = "",
        tracer: Tracer = UNTRACED,
    ) -> None:
        """`allow_origin`: whose pages may call it beside those of its own origin (CORS), or `*`;
        empty: nobody's."""
        self._guard = Guard(meter, allow_origin, tracer)
        application = web.Application(
            client_max_size=max_body_bytes, middlewares=[self._guard.middleware]
        )
        application.add_routes(routes)
        application.on_response_prepare.append(self._guard.prepare)
        # A client that goes away takes its handler with it, as in gRPC.
        self._runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=0.01)
        self._listener: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen; the port that it became. Raises OSError where it can't be had."""
        await self._runner.setup()
        loop = asyncio.get_running_loop()
        # aiohttp's TCPSite does the same, but for whose connections they are.
        self._listener = await loop.create_server(self._connection, host, port)
        bound: int = self._listener.sockets[0].getsockname()[1]
        return bound

    async def stop(self, grace_s: float) -> None:
        """Take no more requests, give those under way so long, and cancel the rest."""
        if self._listener is not None:
            self._listener.close()
        if self._runner.server is not None:
            self._runner.server.pre_shutdown()
        await self._guard.finish(grace_s)
        await self._runner.cleanup()

    def _connection(self) -> Connection:
        options: dict[str, Any] = {"auto_decompress": False, "access_log": None}
        assert self._runner.server is not None
        return Connection(self._runner.server, loop=asyncio.get_running_loop(), **options)
