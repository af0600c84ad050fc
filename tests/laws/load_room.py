"""How many sessions the server may have, and what its counters have to say at the end, as far as
somebody outside can know."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from rnnserve.client import ServerError
from rnnserve.errors import Reason

T = TypeVar("T")


@dataclass
class Ledger:
    """Of one model: what has happened for certain, and how much more may have, unheard."""

    opened: int = 0
    opened_perhaps: int = 0
    steps: int = 0
    steps_perhaps: int = 0
    resent: int = 0
    resent_perhaps: int = 0


@dataclass(eq=False)
class Asking:
    """Somebody asks for sessions; `peak`: the most there may have been meanwhile, these too."""

    count: int
    peak: int


@dataclass
class Room:
    """Refuses to believe in a refusal for want of room while there was some."""

    limit: int
    possible: int = 0
    """Sessions that may be on the server, those included that nobody heard of."""
    ledgers: dict[str, Ledger] = field(default_factory=dict)
    refusals: Counter[str] = field(default_factory=Counter)
    _asking: set[Asking] = field(default_factory=set)
    _change: asyncio.Event = field(default_factory=asyncio.Event)

    async def made(self, model: str, count: int, make: Callable[[], Awaitable[T]]) -> T:
        """What makes `count` sessions, counted; raises what it raises."""
        ledger = self.ledgers[model]
        self.possible += count
        asking = Asking(count, 0)
        self._asking.add(asking)
        for other in self._asking:
            other.peak = max(other.peak, self.possible)
        try:
            made = await make()
        except ServerError as error:
            if error.reason == Reason.TOO_MANY_SESSIONS and asking.peak <= self.limit:
                error.add_note(f"no room, though there were {asking.peak} sessions at the most")
                raise AssertionError("a refusal without a reason") from error
            self.refusals[error.reason] += 1
            self.freed(count)
            raise
        except asyncio.CancelledError:
            ledger.opened_perhaps += count
            raise
        finally:
            self._asking.discard(asking)
        ledger.opened += count
        return made

    def freed(self, count: int) -> None:
        """Sessions have ended, for certain."""
        self.possible -= count
        change, self._change = self._change, asyncio.Event()
        change.set()

    async def change(self) -> None:
        """Returns when some session has ended."""
        await self._change.wait()
