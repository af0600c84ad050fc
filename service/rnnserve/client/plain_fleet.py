"""A client over all servers behind one name, without asyncio."""

import socket
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from types import TracebackType
from typing import Self

import grpc

from rnnserve.client.carry import Carry
from rnnserve.client.errors import ServerError
from rnnserve.client.members import (
    REST_S,
    Member,
    Members,
    divided,
    is_tried_elsewhere,
    joined,
    nobody,
)
from rnnserve.client.plain import Client
from rnnserve.client.plain_session import Session

Resolve = Callable[[str, int], set[str]]
"""The addresses of a name and a port."""
Opening = Callable[[Client], AbstractContextManager[Session]]


class Fleet:
    """The servers behind a name. Each session is opened where this client has the fewest, and stays
    there; what AsyncFleet says holds here too.

        with Fleet("rnnserve-headless:8001", timeout_s=10) as fleet:
            with fleet.open("letters") as session:
                logits = session.step([4, 7, 1])  # (3, V)

    Different threads may use one fleet, each with sessions of its own.
    """

    def __init__(
        self,
        target: str,
        *,
        credentials: grpc.ChannelCredentials | None = None,
        timeout_s: float | None = 5.0,
        look_every_s: float = 5.0,
        resolve: Resolve | None = None,
    ) -> None:
        """`timeout_s` bounds every operation of a session, opening too: a server that takes longer
        for that is passed over. Whoever opens when the name is to be asked waits for its answer;
        others don't. Raises ValueError where the target isn't NAME:PORT."""
        self.target = target
        self._name, self._port = divided(target)
        self._look_every_s = look_every_s
        self._resolve = resolve or addresses_of
        self._looked_s = -float("inf")
        self._lock = threading.Lock()
        self._looking = threading.Lock()
        """Held by who asks the name; nobody who knows some servers waits for that."""
        self._members: Members[Client] = Members(
            lambda address: Client(
                joined(address, self._port),
                credentials=credentials,
                server_name=self._name,
                timeout_s=timeout_s,
            )
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends every connection; what is under way in other threads fails."""
        with self._lock:
            for member in self._members.all():
                member.client.close()

    @property
    def sessions(self) -> dict[str, int]:
        """How many sessions this client has with each server, by address."""
        with self._lock:
            return {member.address: member.sessions for member in self._members.all()}

    @contextmanager
    def open(
        self,
        model: str,
        version: int = 0,
        *,
        carry: Carry | None = None,
        seed: int | None = None,
        scale: float | None = None,
    ) -> Iterator[Session]:
        """A session, as Client.open gives it, on the server that has the fewest of ours.

        Raises the ServerError of the last server asked where none takes it.
        """
        with self._placed(
            lambda client: client.open(model, version, carry=carry, seed=seed, scale=scale)
        ) as session:
            yield session

    @contextmanager
    def restore(self, model: str, blob: bytes, version: int = 0) -> Iterator[Session]:
        """A new session from what `export` gave, wherever that was; as `open`."""
        with self._placed(lambda client: client.restore(model, blob, version)) as session:
            yield session

    @contextmanager
    def client(self) -> Iterator[Client]:
        """The client of the server that has the fewest sessions of ours, for whatever else is asked
        of one: a generation counts as a session as long as this is held."""
        member = self._next(())
        if member is None:
            raise nobody(self.target)
        try:
            yield member.client
        finally:
            self._close(member)

    @contextmanager
    def _placed(self, opening: Opening) -> Iterator[Session]:
        asked: list[Member[Client]] = []
        refused = nobody(self.target)
        while (member := self._next(asked)) is not None:
            asked.append(member)
            with ExitStack() as stack:
                stack.callback(self._close, member)
                try:
                    session = stack.enter_context(opening(member.client))
                except ServerError as error:
                    if not is_tried_elsewhere(error):
                        raise
                    refused = error
                    member.rests_until_s = time.monotonic() + (error.retry_after_s or REST_S)
                    continue
                member.rests_until_s = 0.0
                yield session
                return
        raise refused

    def _next(self, asked: Collection[Member[Client]]) -> Member[Client] | None:
        self._look()
        with self._lock:
            return self._members.choose(time.monotonic(), asked)

    def _close(self, member: Member[Client]) -> None:
        with self._lock:
            unneeded = self._members.closed(member)
        if unneeded is not None:
            unneeded.close()

    def _look(self) -> None:
        """Ask the name, where that was long ago. One that can't be asked leaves what is known."""
        if not self._is_due() or not self._looking.acquire(blocking=not self._members.addresses):
            return
        try:
            if self._is_due():
                self._ask()
        finally:
            self._looking.release()

    def _is_due(self) -> bool:
        is_long_ago = time.monotonic() - self._looked_s >= self._look_every_s
        return is_long_ago or not self._members.addresses

    def _ask(self) -> None:
        try:
            addresses = self._resolve(self._name, self._port)
        except OSError:
            addresses = set(self._members.addresses)
        self._looked_s = time.monotonic()
        with self._lock:
            unneeded = self._members.update(addresses)
        for client in unneeded:
            client.close()


def addresses_of(name: str, port: int) -> set[str]:
    """What the system's resolver knows. Raises OSError."""
    found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    return {str(address[0]) for *_, address in found}
