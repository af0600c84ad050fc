"""Several clients of one server, hundreds of sessions, and what is known of all of them."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from random import Random
from typing import Any, Self

import grpc.aio

from laws.load_life import TURNS, Life
from laws.load_proxy import CuttingProxy
from laws.load_room import Ledger, Room
from laws.load_twin import Twin, by_name, random_rows
from raw_session import IDS
from rnnserve.client import AsyncClient, AsyncSession, ServerError
from rnnserve.client.progress import Progress
from rnnserve.errors import Reason
from rnnserve.v1 import rnnserve_pb2 as v1
from rnnserve.v1 import rnnserve_pb2_grpc
from small_models import SmallModel

CLIENTS = 3
Deeds = dict[Callable[[Life], Awaitable[None]], int]


class World:
    """Lives of sessions, all at once; the first that finds a law broken ends them all."""

    def __init__(
        self, target: str, models: list[SmallModel], seed: int, max_sessions: int, deeds: Deeds
    ) -> None:
        self.target = target
        self.seed = seed
        self.models = {model.spec.name: model for model in models}
        self.deeds = deeds
        self.tally: Counter[str] = Counter()
        """What was done."""
        self.room = Room(max_sessions, ledgers={name: Ledger() for name in self.models})
        self.fingerprints: dict[str, str] = {}
        self.blobs: dict[str, bytes] = {}
        """By model, one that was exported."""
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        enter = self._stack.enter_async_context
        self.clients = [await enter(AsyncClient(self.target)) for _ in range(CLIENTS)]
        channel = await enter(grpc.aio.insecure_channel(self.target))
        self._raw = rnnserve_pb2_grpc.RnnServeStub(channel)
        rng = Random(f"{self.seed} proxy")
        self.proxy = await enter(CuttingProxy(self.target, rng, (1_500, 40_000)))
        self.brittle = await enter(AsyncClient(self.proxy.target))
        for name in self.models:
            self.fingerprints[name] = (await self.clients[0].describe(name)).fingerprint
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self._stack.__aexit__(*error)

    async def run(self, lives: int) -> None:
        """So many sessions are opened at the same moment; returns when all have ended."""
        async with asyncio.TaskGroup() as self._group:
            for number in range(lives):
                self._group.create_task(self._from_the_beginning(str(number)))

    def start(self, life: Life) -> None:
        """A life that came from another one."""
        living = life.live(self.deeds)
        try:
            self._group.create_task(living)
        except RuntimeError:  # another one has failed: no more are born
            living.close()

    async def _from_the_beginning(self, name: str) -> None:
        rng = Random(f"{self.seed} {name} opens")
        model = rng.choice(list(self.models.values()))
        seed, client = rng.randrange(1000), rng.choice(self.clients)
        rows, how = rng.choice(
            [
                (None, {}),
                (random_rows(model, seed), {"carry": by_name(model, random_rows(model, seed))}),
                (random_rows(model, seed, 2.0), {"seed": seed, "scale": 2.0}),
            ]
        )
        cancelled = rng.random() < 0.1
        async with AsyncExitStack() as stack:
            while True:
                one = client.open(model.spec.name, **how)
                enter = partial(stack.enter_async_context, one)
                opening = asyncio.create_task(self.room.made(model.spec.name, 1, enter))
                if cancelled:
                    for _ in range(rng.choice(TURNS)):
                        await asyncio.sleep(0)
                    opening.cancel()
                ((session,),) = [await asyncio.gather(opening, return_exceptions=True)]
                if isinstance(session, asyncio.CancelledError):
                    self.tally["open was cancelled"] += 1
                    return
                if not isinstance(session, BaseException):
                    break
                if not isinstance(session, ServerError):
                    raise session
                assert session.reason == Reason.TOO_MANY_SESSIONS, session
                assert session.retry_after_s
                await self.room.change()
            await Life(self, name, client, session, [Twin.fresh(model, rows)]).live(self.deeds)

    async def exchange(self, *operations: v1.Operation) -> list[v1.Event]:
        """By the unary twin, on a connection of its own."""
        for operation in operations:
            operation.id = operation.id or next(IDS)
        return list((await self._raw.Exchange(v1.OperationFrame(operations=operations))).events)

    def generate(self, request: v1.GenerateRequest) -> Any:
        return self._raw.Generate(request)

    def adopt(self, life: Life, client: AsyncClient) -> AsyncSession:
        """The life's session for another client. There is no public way to say it yet."""
        progress = Progress(life.session.id, life.index, life.session._progress.origin)
        return AsyncSession(client._stub, client._stream, progress)

    def heard(self, reply: object) -> None:
        if isinstance(reply, ServerError):
            self.room.refusals[reply.reason] += 1
