"""A client over all servers behind one name, for asyncio."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from types import TracebackType
from typing import Self

import grpc

from rnnserve.client.async_session import AsyncSession
from rnnserve.client.asynchronous import AsyncClient
from rnnserve.client.carry import Carry
from rnnserve.client.errors import TRANSPORT, ServerError
from rnnserve.client.members import (
    REST_S,
    Member,
    Members,
    divided,
    is_tried_elsewhere,
    joined,
    nobody,
)

Resolve = Callable[[str, int], Awaitable[set[str]]]
"""The addresses of a name and a port."""
Opening = Callable[[AsyncClient], AbstractAsyncContextManager[AsyncSession]]


class AsyncFleet:
    """The servers behind a name, such as a headless service of Kubernetes. Each session is opened
    where this client has the fewest, and stays there.

        async with AsyncFleet("rnnserve-headless:8001") as fleet:
            async with fleet.open("letters") as session:
                logits = await session.step([4, 7, 1])  # (3, V)

    The name is asked again every `look_every_s` seconds, when a session opens: servers that joined
    are filled first, and those that left keep the sessions they have. With `credentials`, each
    server's certificate has to be for the name.
    """

    def __init__(
        self,
        target: str,
        *,
        credentials: grpc.ChannelCredentials | None = None,
        look_every_s: float = 5.0,
        open_within_s: float = 5.0,
        resolve: Resolve | None = None,
    ) -> None:
        """`open_within_s`: a server that takes longer to open a session is passed over, and a name
        that takes longer to be resolved leaves what is known.

        Raises ValueError where the target isn't NAME:PORT.
        """
        self.target = target
        self._name, self._port = divided(target)
        self._look_every_s = look_every_s
        self._open_within_s = open_within_s
        self._resolve = resolve or addresses_of
        self._looked_s = -float("inf")
        self._looking = asyncio.Lock()
        self._members: Members[AsyncClient] = Members(
            lambda address: AsyncClient(
                joined(address, self._port), credentials=credentials, server_name=self._name
            )
        )
        self._entered: set[AsyncClient] = set()

    async def __aenter__(self) -> Self:
        await self._look()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for client in list(self._entered):
            await self._leave(client)

    @property
    def sessions(self) -> dict[str, int]:
        """How many sessions this client has with each server, by address."""
        return {member.address: member.sessions for member in self._members.all()}

    @asynccontextmanager
    async def open(
        self,
        model: str,
        version: int = 0,
        *,
        carry: Carry | None = None,
        seed: int | None = None,
        scale: float | None = None,
    ) -> AsyncIterator[AsyncSession]:
        """A session, as AsyncClient.open gives it, on the server that has the fewest of ours.

        Raises the ServerError of the last server asked where none takes it.
        """
        async with self._placed(
            lambda client: client.open(model, version, carry=carry, seed=seed, scale=scale)
        ) as session:
            yield session

    @asynccontextmanager
    async def restore(
        self, model: str, blob: bytes, version: int = 0
    ) -> AsyncIterator[AsyncSession]:
        """A new session from what `export` gave, wherever that was; as `open`."""
        async with self._placed(lambda client: client.restore(model, blob, version)) as session:
            yield session

    @asynccontextmanager
    async def client(self) -> AsyncIterator[AsyncClient]:
        """The client of the server that has the fewest sessions of ours, for whatever else is asked
        of one: a generation counts as a session as long as this is held."""
        await self._look()
        self._rest_draining()
        member = self._members.choose(_now_s())
        if member is None:
            raise nobody(self.target)
        try:
            yield await self._entered_client(member)
        finally:
            await self._close(member)

    @asynccontextmanager
    async def _placed(self, opening: Opening) -> AsyncIterator[AsyncSession]:
        await self._look()
        self._rest_draining()
        asked: list[Member[AsyncClient]] = []
        refused = nobody(self.target)
        while (member := self._members.choose(_now_s(), asked)) is not None:
            asked.append(member)
            async with AsyncExitStack() as stack:
                stack.push_async_callback(self._close, member)
                try:
                    session = await self._opened(member, opening, stack)
                except ServerError as error:
                    if not is_tried_elsewhere(error):
                        raise
                    refused = error
                    member.rests_until_s = _now_s() + (error.retry_after_s or REST_S)
                    continue
                member.rests_until_s = 0.0
                yield session
                return
        raise refused

    async def _opened(
        self, member: Member[AsyncClient], opening: Opening, stack: AsyncExitStack
    ) -> AsyncSession:
        client = await self._entered_client(member)
        try:
            async with asyncio.timeout(self._open_within_s):
                return await stack.enter_async_context(opening(client))
        except TimeoutError:
            raise ServerError(
                TRANSPORT,
                f"{member.address} did not open a session within {self._open_within_s} s",
                code=grpc.StatusCode.DEADLINE_EXCEEDED,
            ) from None

    async def _entered_client(self, member: Member[AsyncClient]) -> AsyncClient:
        if member.client not in self._entered:
            self._entered.add(member.client)
            await member.client.__aenter__()
        return member.client

    async def _close(self, member: Member[AsyncClient]) -> None:
        unneeded = self._members.closed(member)
        if unneeded is not None:
            await self._leave(unneeded)

    async def _leave(self, client: AsyncClient) -> None:
        if client in self._entered:
            self._entered.remove(client)
            await client.__aexit__(None, None, None)

    def _rest_draining(self) -> None:
        """Who has said that it stops isn't asked first."""
        for member in self._members.all():
            if member.client in self._entered and member.client.left_s is not None:
                member.rests_until_s = _now_s() + REST_S

    async def _look(self) -> None:
        """Ask the name, where that was long ago. One that can't be asked leaves what is known."""
        if self._members.addresses and self._looking.locked():
            # Somebody else waits for it.
            return
        async with self._looking:
            known = self._members.addresses
            if known and _now_s() - self._looked_s < self._look_every_s:
                return
            try:
                async with asyncio.timeout(self._open_within_s):
                    addresses = await self._resolve(self._name, self._port)
            except (OSError, TimeoutError):
                addresses = set(known)
            self._looked_s = _now_s()
            for client in self._members.update(addresses):
                await self._leave(client)


async def addresses_of(name: str, port: int) -> set[str]:
    """What the system's resolver knows. Raises OSError."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    return {str(address[0]) for *_, address in found}


def _now_s() -> float:
    return asyncio.get_running_loop().time()
