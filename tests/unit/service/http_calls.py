"""HTTP over real sockets to the real engine, which runs all the time or when the test says so."""

import asyncio
import io
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from plain_models import PlainModel
from rnnserve.errors import Reason
from rnnserve.repository.tokenizer import Tokenizer
from rnnserve.wire.generate import Generations
from rnnserve.wire.http.routes import Routes
from rnnserve.wire.http.server import HttpServer
from rnnserve.wire.inference.calls import Inference
from rnnserve.wire.inference.models import Models
from rnnserve.wire.inference.repository import Indexed, State
from rnnserve.wire.tracing import UNTRACED, Tracer
from rnnserve_models.tokenizer import character_tokenizer
from small_models import ALPHABET, SmallModel
from synchronous_engine import Notes, SynchronousEngine
from unit.service.inference_calls import FakeRepository

PATIENCE_S = 20.0
"""How long anything may take before the test fails."""
HOST = "127.0.0.1"


@dataclass
class HttpNotes(Notes):
    refusals: list[Reason] = field(default_factory=list)

    def refused(self, reason: Reason) -> None:
        self.refusals.append(reason)


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, which must be JSON to the strictest reader."""
        return json.loads(self.body, parse_constant=lambda word: 1 / 0)


class World:
    """A server, what is behind it, and a client."""

    def __init__(self, model: PlainModel | SmallModel, **limits: Any) -> None:
        self.outside = SynchronousEngine(model, **limits)
        self.notes = HttpNotes()
        self.spec = self.outside.model.spec
        engine = self.outside.engine
        self.repository = FakeRepository(Indexed(self.spec.name, 1, State.READY, ""))
        tokenizer = Tokenizer(character_tokenizer(ALPHABET).to_str())
        self.generations = Generations(engine, {self.outside.model: tokenizer})
        self.ready = True
        self.inference = Inference(engine, self.repository, lambda: self.ready)
        self.routes = Routes(
            self.inference, self.generations, Models(engine, self.repository), self.notes
        )
        self.server: HttpServer
        self.port = 0
        self.client: aiohttp.ClientSession

    async def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """One request; a body that is not bytes is sent as JSON."""
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        # aiohttp warns of long bytes; this is the same to it.
        data = None if body is None else io.BytesIO(body)
        url = f"http://{HOST}:{self.port}{path}"
        async with self.client.request(method, url, data=data, headers=headers) as response:
            return Reply(response.status, response.headers, await response.read())

    async def get(self, path: str) -> Reply:
        return await self.ask("GET", path)

    async def post(
        self, path: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> Reply:
        return await self.ask("POST", path, body, headers)

    async def infer(self, body: object, headers: Mapping[str, str] | None = None) -> Reply:
        return await self.post(f"/v2/models/{self.spec.name}/infer", body, headers)

    @asynccontextmanager
    async def raw(self, data: bytes) -> AsyncIterator[asyncio.StreamReader]:
        """What comes on a connection on which this was sent; it is closed at the end."""
        reader, writer = await asyncio.open_connection(HOST, self.port)
        writer.write(data)
        try:
            yield reader
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def run(self) -> None:
        """Let the engine run for ever."""
        while True:
            self.outside.tick()
            await asyncio.sleep(0)


@asynccontextmanager
async def serving(
    model: PlainModel | SmallModel,
    *,
    running: bool = True,
    max_body_bytes: int = 1 << 20,
    allow_origin: str = "",
    tracer: Tracer = UNTRACED,
    **limits: Any,
) -> AsyncIterator[World]:
    """A world from the server's start to its stop, sound at the end."""
    world = World(model, **limits)
    world.server = server = HttpServer(
        world.routes.table(),
        world.notes,
        max_body_bytes=max_body_bytes,
        allow_origin=allow_origin,
        tracer=tracer,
    )
    world.port = await server.start(HOST, 0)
    engine = asyncio.create_task(world.run() if running else asyncio.sleep(0))
    timeout = aiohttp.ClientTimeout(total=PATIENCE_S)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as world.client:
            yield world
    finally:
        await server.stop(0.0)
        engine.cancel()
        await asyncio.gather(engine, return_exceptions=True)
    assert world.outside.audit() == []


async def until(holds: Callable[[], object]) -> None:
    """Let the loop turn until it holds."""
    loop = asyncio.get_running_loop()
    last_s = loop.time() + PATIENCE_S
    while not holds():
        assert loop.time() < last_s, "it does not come to hold"
        await asyncio.sleep(0)
