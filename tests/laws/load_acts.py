"""What is asked of a session under load, and where the session may stand when it was answered."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field

from laws.load_twin import Rows, Twin, close, distinct
from rnnserve.client import AsyncSession, ServerError
from rnnserve.engine import blob as blobs
from rnnserve.errors import Reason
from rnnserve.v1 import rnnserve_pb2 as v1

UNHEARD = "unheard"
"""In the place of an answer: the caller was cancelled, or the connection broke."""


@dataclass
class Act:
    """One thing that is asked. `after` are the places where a session that stood at the twin may
    stand once this was the reply: none where the reply is wrong."""

    may_be_refused: tuple[Reason, ...] = field(default=(), kw_only=True)

    async def send(self, session: AsyncSession) -> object:
        raise NotImplementedError

    def after(self, twin: Twin, reply: object) -> Iterable[Twin]:
        raise NotImplementedError

    def stood_at(self, twins: list[Twin], reply: object) -> None:
        """Told where the session may have stood then."""


@dataclass
class Step(Act):
    tokens: list[int]
    timeout_s: float | None = None

    def __post_init__(self) -> None:
        self.may_be_refused = (Reason.OVERLOADED,)
        if self.timeout_s is not None:
            self.may_be_refused += (Reason.TOO_LATE,)

    async def send(self, session):
        return await session.step(self.tokens, timeout_s=self.timeout_s)

    def after(self, twin, reply):
        moved, logits = twin.fed(self.tokens)
        if reply is UNHEARD:
            return twin, moved
        return (moved,) if close(reply, logits) else ()


@dataclass
class Reset(Act):
    rows: Rows | None
    seed: int | None = None

    def message(self) -> v1.InitialCarry | None:
        """The same by hand."""
        if self.seed is not None:
            return v1.InitialCarry(random=v1.RandomCarry(seed=self.seed))
        if self.rows is None:
            return None
        given = v1.GivenCarry(tensors=[row.tobytes() for row in self.rows])
        return v1.InitialCarry(given=given)

    async def send(self, session):
        # From a seed the server draws what `rows` are.
        carry = None
        if self.rows is not None and self.seed is None:
            names = [tensor.name for tensor in session.carry]
            carry = dict(zip(names, self.rows, strict=True))
        await session.reset(carry=carry, seed=self.seed)

    def after(self, twin, reply):
        fresh = twin.restarted(self.rows)
        return (twin, fresh) if reply is UNHEARD else (fresh,)


@dataclass
class Fork(Act):
    """`made` awaits the forks and counts them."""

    count: int
    made: Callable[[Callable[[], Awaitable[object]]], Awaitable[object]]
    may_be_refused: tuple[Reason, ...] = field(default=(Reason.TOO_MANY_SESSIONS,), kw_only=True)
    places: list[Twin] = field(default_factory=list)

    async def send(self, session):
        return await self.made(lambda: session.fork(self.count))

    def after(self, twin, reply):
        if reply is UNHEARD:
            return (twin,)
        ids = {fork.id for fork in reply}
        right = len(ids) == self.count and all(fork.index == twin.index for fork in reply)
        return (twin,) if right else ()

    def stood_at(self, twins, reply):
        self.places = [] if reply is UNHEARD else twins


@dataclass
class Export(Act):
    fingerprint: str
    places: list[Twin] = field(default_factory=list)

    async def send(self, session):
        return await session.export()

    def after(self, twin, reply):
        if reply is UNHEARD:
            return (twin,)
        index, rows = blobs.unpack(twin.model.spec, self.fingerprint, reply)
        return (twin,) if index == twin.index and twin.holds(rows) else ()

    def stood_at(self, twins, reply):
        self.places = [] if reply is UNHEARD else twins


async def together(
    session: AsyncSession, acts: Sequence[Act], cuts: Iterable[tuple[int, int]] = ()
) -> list[object]:
    """Ask for all at once; the replies in their order. `cuts`: which one is cancelled, and how
    many turns of the loop later than the one before."""
    tasks = [asyncio.create_task(act.send(session)) for act in acts]
    for which, turns in cuts:
        for _ in range(turns):
            await asyncio.sleep(0)
        tasks[which].cancel()
    replies: list[object] = list(await asyncio.gather(*tasks, return_exceptions=True))
    return [UNHEARD if isinstance(reply, asyncio.CancelledError) else reply for reply in replies]


def settle(twins: list[Twin], acts: Sequence[Act], replies: Sequence[object]) -> list[Twin]:
    """Where the session may stand after these replies, in this order."""
    shaky = False
    for act, reply in zip(acts, replies, strict=True):
        if isinstance(reply, ServerError):
            # Behind a step that was not taken, everything else names an index too far.
            allowed = (*act.may_be_refused, Reason.INDEX_GAP) if shaky else act.may_be_refused
            assert reply.reason in allowed, f"{act} was refused: {reply}"
        elif isinstance(reply, BaseException):
            raise reply
        else:
            twins = distinct(place for twin in twins for place in act.after(twin, reply))
            assert twins, f"{act}: no allowed place of the session gives this answer"
            act.stood_at(twins, reply)
        if isinstance(act, Step) and (reply is UNHEARD or isinstance(reply, ServerError)):
            shaky = True
    return twins
