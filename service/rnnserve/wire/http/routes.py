"""What is served at which path: the REST form of the protocol, as Triton has it.

A server or a model that isn't ready is 503; every other reply that says yes or no is 200.
"""

import asyncio
from collections.abc import Iterator
from functools import partial

from aiohttp import web

from rnnserve.engine.meter import Meter
from rnnserve.errors import Reason, Refusal
from rnnserve.triton import grpc_service_pb2 as wire
from rnnserve.wire.generate import Generations
from rnnserve.wire.http import document
from rnnserve.wire.http.body import body_of
from rnnserve.wire.http.document import Fields
from rnnserve.wire.http.generation import Generate
from rnnserve.wire.http.guard import SPAN
from rnnserve.wire.http.inference import (
    HEADER_LENGTH,
    AsBytes,
    read_request,
    write_bytes,
    write_json,
)
from rnnserve.wire.http.messages import plain
from rnnserve.wire.inference.calls import Inference
from rnnserve.wire.inference.models import Models
from rnnserve.wire.inference.servicer import NOT_OFFERED
from rnnserve.wire.inference.texts import short

MODEL = "/v2/models/{name}"
VERSION = MODEL + "/versions/{version}"
LOOP_BYTES = 16_384
"""A longer body is read in a thread: the loop is everybody's."""
LONG_CHARACTERS = 8_192
"""A piece of a reply that took a while to write: others get a turn behind it."""
LISTED = """\
rnnserve: the Open Inference Protocol over HTTP

GET  /v2                                        the server
GET  /v2/health/live, /v2/health/ready          200 where it is
GET  /v2/models/stats                           statistics of all models
GET  /v2/models/{name}                          a model; here and below, /versions/{version} may
                                                follow the name
GET  /v2/models/{name}/ready                    200 where it is
GET  /v2/models/{name}/config                   its configuration
GET  /v2/models/{name}/stats                    its statistics
POST /v2/models/{name}/infer                    run it
POST /v2/models/{name}/generate                 {"text_input": "..."} to the whole text
POST /v2/models/{name}/generate_stream          the same as server-sent events
POST /v2/repository/index                       every model that was found
POST /v2/repository/models/{name}/load, unload  where the server was started with --model-control
"""


class Routes:
    """The handlers, each a call of the protocol."""

    def __init__(
        self, inference: Inference, generations: Generations, models: Models, meter: Meter
    ) -> None:
        self._inference = inference
        self._generate = Generate(generations, models.find, meter)

    def table(self) -> Iterator[web.RouteDef]:
        """Every method and path with its handler."""
        yield web.get("/", self.listed)
        yield web.get("/v2", self.server_metadata)
        yield web.get("/v2/health/live", self.server_live)
        yield web.get("/v2/health/ready", self.server_ready)
        yield web.get("/v2/models/stats", self.statistics)
        yield web.post("/v2/repository/index", self.index)
        yield web.post("/v2/repository/models/{name}/load", self.load)
        yield web.post("/v2/repository/models/{name}/unload", self.unload)
        for model in (MODEL, VERSION):
            yield web.get(model, self.model_metadata)
            yield web.get(model + "/ready", self.model_ready)
            yield web.get(model + "/config", self.model_config)
            yield web.get(model + "/stats", self.statistics)
            yield web.post(model + "/infer", self.infer)
            yield web.post(model + "/generate", self._generate.whole)
            yield web.post(model + "/generate_stream", self._generate.stream)
        for path in ("logging", "trace/setting", "models/{name}/trace/setting"):
            yield web.route("*", f"/v2/{path}", self.not_offered)
        for memory in ("systemsharedmemory", "cudasharedmemory"):
            yield web.route("*", f"/v2/{memory}/{{rest:.*}}", self.not_offered)

    async def listed(self, request: web.Request) -> web.Response:
        return web.Response(text=LISTED)

    async def server_live(self, request: web.Request) -> web.Response:
        return web.json_response({"live": self._inference.server_live()})

    async def server_ready(self, request: web.Request) -> web.Response:
        if not self._inference.server_ready():
            raise Refusal(Reason.DRAINING, "the server takes no new sequences")
        return web.json_response({"ready": True})

    async def server_metadata(self, request: web.Request) -> web.Response:
        return web.json_response(plain(self._inference.server_metadata()))

    async def model_ready(self, request: web.Request) -> web.Response:
        name, version = _model(request)
        if not self._inference.model_ready(name, version):
            raise Refusal(Reason.MODEL_NOT_READY, f"model '{short(name)}' is not ready")
        return web.json_response({"name": name, "ready": True})

    async def model_metadata(self, request: web.Request) -> web.Response:
        return web.json_response(plain(self._inference.model_metadata(*_model(request))))

    async def model_config(self, request: web.Request) -> web.Response:
        found = self._inference.model_config(*_model(request))
        return web.json_response(plain(found.config))

    async def statistics(self, request: web.Request) -> web.Response:
        return web.json_response(plain(self._inference.model_statistics(*_model(request))))

    async def infer(self, request: web.Request) -> web.Response:
        body = await body_of(request)
        header_length = request.headers.get(HEADER_LENGTH)
        reading = partial(read_request, body, header_length, *_model(request))
        if len(body) <= LOOP_BYTES:
            asked, as_bytes = reading()
        else:
            asked, as_bytes = await asyncio.to_thread(reading)
        async with self._inference.infer(asked, span=request[SPAN]) as reply:
            return await _written(reply, as_bytes)

    async def index(self, request: web.Request) -> web.Response:
        fields = await _may_be_empty(request)
        ready_only = fields.take("ready", bool, False)
        fields.done()
        found = self._inference.index(ready_only=ready_only)
        return web.json_response(plain(found)["models"])

    async def load(self, request: web.Request) -> web.Response:
        asked = wire.RepositoryModelLoadRequest(model_name=request.match_info["name"])
        await _fill_parameters(request, asked)
        await self._inference.load(asked)
        return web.json_response({})

    async def unload(self, request: web.Request) -> web.Response:
        asked = wire.RepositoryModelUnloadRequest(model_name=request.match_info["name"])
        await _fill_parameters(request, asked)
        await self._inference.unload(asked)
        return web.json_response({})

    async def not_offered(self, request: web.Request) -> web.Response:
        raise Refusal(Reason.NOT_OFFERED, NOT_OFFERED)


async def _written(reply: wire.ModelInferResponse, as_bytes: AsBytes) -> web.Response:
    pieces = []
    for piece in write_json(reply, as_bytes):
        pieces.append(piece)
        if len(piece) >= LONG_CHARACTERS:
            await asyncio.sleep(0)
    said = "".join(pieces).encode()
    memories = write_bytes(reply, as_bytes)
    if memories is None:
        return web.Response(body=said, content_type="application/json")
    return web.Response(
        body=said + memories,
        content_type="application/octet-stream",
        headers={HEADER_LENGTH: str(len(said))},
    )


def _model(request: web.Request) -> tuple[str, str]:
    """Name and version, empty where the path has none."""
    path = request.match_info
    return path.get("name", ""), path.get("version", "")


async def _may_be_empty(request: web.Request) -> Fields:
    body = await body_of(request)
    return Fields(document.read(body) if body else {}, "the request")


async def _fill_parameters(
    request: web.Request,
    asked: wire.RepositoryModelLoadRequest | wire.RepositoryModelUnloadRequest,
) -> None:
    """Triton's `config` and `file:...` are strings here, `unload_dependents` is true or false."""
    fields = await _may_be_empty(request)
    for key, value in fields.inner("parameters").rest().items():
        parameter = asked.parameters[key]
        if isinstance(value, bool):
            parameter.bool_param = value
        elif isinstance(value, str):
            parameter.string_param = value
        else:
            kind = f"{document.kind_of(value)}; it must be a string, or true or false"
            raise document.malformed(f"{key[:80]!r} in 'parameters' is {kind}")
    fields.done()
