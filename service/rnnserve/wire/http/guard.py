"""What stands around every handler: a refusal becomes a reply, and a bug shows nothing."""

import asyncio
from typing import Any, TypeVar

from aiohttp import web

from rnnserve.engine.meter import Meter
from rnnserve.errors import Reason, Refusal
from rnnserve.wire.http.inference import HEADER_LENGTH
from rnnserve.wire.http.refusals import Handler, response_of
from rnnserve.wire.status import internal
from rnnserve.wire.tracing import UNTRACED, CallSpan, Method, Tracer

R = TypeVar("R", bound=web.StreamResponse)

SPAN: web.RequestKey[CallSpan | None] = web.RequestKey("span")
"""Where a request has the span of its call, or None."""
CAUSE: web.RequestKey[Refusal | None] = web.RequestKey("cause")
"""Why it failed, if it did; also after the response had begun."""
TRACED = {"infer": False, "generate": True, "generate_stream": True}
"""The last word of the paths that run a model, and whether it may take long."""


def named(response: R) -> R:
    """Without the versions that aiohttp would name."""
    response.headers["Server"] = "rnnserve"
    return response


class Guard:
    """Around every handler; knows which requests are under way.

    CORS is off: a browser lets only pages of the server's own origin read what it answers. With
    `allow_origin` it lets those of that origin too, or of any (`*`).
    """

    def __init__(self, meter: Meter, allow_origin: str = "", tracer: Tracer = UNTRACED) -> None:
        self._meter = meter
        self._allow_origin = allow_origin
        self._tracer = tracer
        self._under_way: set[asyncio.Task[Any]] = set()

    @property
    def middleware(self) -> Any:
        @web.middleware
        async def around(request: web.Request, handler: Handler) -> web.StreamResponse:
            self._count()
            if self._allow_origin and request.method == "OPTIONS":
                return _preflight()
            request[SPAN] = request[CAUSE] = None
            code = ""
            try:
                response = await self._answer(request, handler)
                code = str(response.status)
            finally:
                if (span := request[SPAN]) is not None:
                    span.end(code, request[CAUSE])
            return response

        return around

    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            request[SPAN] = self._span(request)
            return await handler(request)
        except web.HTTPException as error:
            return self._nothing_there(request, error)
        except Refusal as refusal:
            return self._refused(request, refusal)
        except Exception as error:
            if request.transport is None or request.transport.is_closing():
                # Nobody is left to be told; most likely that is the error.
                raise ConnectionError from error
            return self._refused(request, internal(error))

    def _refused(self, request: web.Request, refusal: Refusal) -> web.Response:
        self._meter.refused(refusal.reason)
        # What was raised holds the whole request by its traceback.
        request[CAUSE] = refusal.again()
        return response_of(refusal)

    def _span(self, request: web.Request) -> CallSpan | None:
        """Of a call that runs a model, where it is traced."""
        resource = request.match_info.route.resource
        if self._tracer is UNTRACED or resource is None:
            return None
        path = resource.canonical
        if (call := path.rpartition("/")[2]) not in TRACED:
            return None
        name = f"{request.method} {path}"
        method = Method(name, is_long=TRACED[call], is_http=True, path=request.path)
        headers = request.headers.items()
        return self._tracer.call(method, [(key.lower(), value) for key, value in headers])

    async def prepare(self, request: web.Request, response: web.StreamResponse) -> None:
        """Add the headers that every response has."""
        named(response)
        if self._allow_origin:
            response.headers["Access-Control-Allow-Origin"] = self._allow_origin
            response.headers["Access-Control-Expose-Headers"] = f"{HEADER_LENGTH}, Retry-After"

    async def finish(self, grace_s: float) -> None:
        """Give the requests under way so long, their responses included, and cancel the rest."""
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=grace_s)
        rest = list(self._under_way)
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)

    def _count(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    def _nothing_there(self, request: web.Request, error: web.HTTPException) -> web.Response:
        """What aiohttp itself says: no such path, or not with this method."""
        refusal = Refusal(
            Reason.NOT_OFFERED, f"there is no {request.method} at this path; GET / lists what is"
        )
        self._meter.refused(refusal.reason)
        response = response_of(refusal)
        response.set_status(error.status)
        if "Allow" in error.headers:
            response.headers["Allow"] = error.headers["Allow"]
        return response


def _preflight() -> web.Response:
    return web.Response(
        status=204,
        headers={
            "Access-Control-Allow-Methods": "GET, POST",
            "Access-Control-Allow-Headers": f"Content-Type, {HEADER_LENGTH}",
            "Access-Control-Max-Age": "600",
        },
    )
