"""Which servers are behind a name, and where the next session goes.

A session stays with its server for life, so that load is spread when one opens: where this client
has the fewest. A server that refused for load, drains, or could not be reached rests for a while,
and is asked again when all others refuse too.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Generic, TypeVar

import grpc

from rnnserve.client.errors import TRANSPORT, ServerError

C = TypeVar("C")

REST_S = 5.0
"""How long a server that refused isn't asked first, where it doesn't say itself."""
_ELSEWHERE = frozenset({"draining", "too_many_sessions", "no_carry_room", "model_not_ready"})


@dataclass(eq=False, slots=True)
class Member(Generic[C]):
    """One server, and the client that speaks to it."""

    address: str
    client: C
    sessions: int = 0
    """That this client has there, those included that are being opened."""
    rests_until_s: float = 0.0
    is_there: bool = True
    """Whether the name still leads to it. Its sessions go on where it doesn't."""


class Members(Generic[C]):
    """The servers of one fleet. The one owner of who is in it; knows no clock and no socket."""

    def __init__(self, connect: Callable[[str], C]) -> None:
        self._connect = connect
        self._members: dict[str, Member[C]] = {}

    @property
    def addresses(self) -> tuple[str, ...]:
        """Of the servers that the name leads to."""
        return tuple(member.address for member in self._members.values() if member.is_there)

    def all(self) -> tuple[Member[C], ...]:
        """Every server that is there or has sessions of this client."""
        return tuple(self._members.values())

    def update(self, addresses: Collection[str]) -> list[C]:
        """The name leads to these now. Returns the clients that nobody needs any more."""
        for address in sorted(addresses - self._members.keys()):
            self._members[address] = Member(address, self._connect(address))
        for member in self._members.values():
            member.is_there = member.address in addresses
        return [member.client for member in self.all() if self._leaves(member)]

    def choose(self, now_s: float, asked: Collection[Member[C]] = ()) -> Member[C] | None:
        """Where to open a session next, but for those `asked` already: where there are the fewest;
        who rests comes last, and first who has rested longest. None: all were asked.

        The session counts from now on, so that many who open at once don't all choose the same.
        """
        left = [one for one in self._members.values() if one.is_there and one not in asked]
        chosen = min(
            left,
            key=lambda one: (max(0.0, one.rests_until_s - now_s), one.sessions),
            default=None,
        )
        if chosen is not None:
            chosen.sessions += 1
        return chosen

    def closed(self, member: Member[C]) -> C | None:
        """A session there has ended, or wasn't opened. The client, where nobody needs it more."""
        member.sessions -= 1
        return member.client if self._leaves(member) else None

    def _leaves(self, member: Member[C]) -> bool:
        if member.is_there or member.sessions:
            return False
        del self._members[member.address]
        return True


def is_tried_elsewhere(error: ServerError) -> bool:
    """Whether another server may well do what this one refused."""
    away = error.reason == TRANSPORT and error.code in (
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
    )
    return away or error.reason in _ELSEWHERE


def nobody(target: str) -> ServerError:
    """The name leads to no server."""
    return ServerError(TRANSPORT, f"{target} leads to no server", code=grpc.StatusCode.UNAVAILABLE)


def divided(target: str) -> tuple[str, int]:
    """Name and port of a target. Raises ValueError."""
    name, colon, port = target.removeprefix("dns:///").rpartition(":")
    if not (colon and name and port.isdecimal()):
        raise ValueError(f"{target!r} is not NAME:PORT")
    return name.strip("[]"), int(port)


def joined(address: str, port: int) -> str:
    """A target for one address."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
