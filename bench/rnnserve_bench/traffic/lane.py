"""One stream of the load and the sessions on it."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress

from rnnserve.client.errors import from_status
from rnnserve.errors import Reason
from rnnserve.v1 import rnnserve_pb2 as v1
from rnnserve_bench.errors import BenchProblem
from rnnserve_bench.light_channel import LightCall
from rnnserve_bench.traffic.book import ANSWERED, NO_ANSWER, STREAM_ENDED, WRONG_ANSWER, Book
from rnnserve_bench.traffic.connections import Connections
from rnnserve_bench.traffic.driven import DrivenSession, Group
from rnnserve_bench.traffic.messages import Inputs
from rnnserve_bench.traffic.opening import close_all, open_all
from rnnserve_bench.traffic.plan import Plan

AGAIN_AFTER_S = 0.5
LOST = frozenset(
    {
        Reason.UNKNOWN_SESSION,
        Reason.SESSION_CLOSED,
        Reason.SESSION_EXPIRED,
        Reason.SESSION_TOO_OLD,
        Reason.INDEX_GAP,
        Reason.INDEX_PAST,
        Reason.OTHER_INPUT,
        WRONG_ANSWER,
    }
)
"""After one of these the session is of no more use: another one takes its place."""


class Lane:
    """Sends for its groups and takes their answers; begins anew when its stream is lost.

    A group is the generator's while it is free and the lane's from `send` on, until `freed` gives
    it back.
    """

    def __init__(
        self,
        place: int,
        plan: Plan,
        connections: Connections,
        book: Book,
        freed: Callable[[Group, float], None],
    ) -> None:
        self._place, self._plan, self._connections = place, plan, connections
        self._book, self._freed = book, freed
        self._opening = v1.Open(model=plan.model, version=plan.version)
        self._call: LightCall | None = None
        self._sessions: dict[int, DrivenSession] = {}
        self._outbox: deque[bytes] = deque()
        self._stranded: list[DrivenSession] = []
        """Not under way and not free: until there is a stream again."""
        self._inputs: Inputs | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._over = False

    async def open(self, groups: Sequence[Group]) -> None:
        """Begin the stream and all its sessions.

        Raises BenchProblem where the server can't be reached or refuses one.
        """
        for group in groups:
            group.lane = self
            for session in group.sessions:
                session.number = len(self._sessions) + 1
                self._sessions[session.number] = session
        self._call = await self._begin()
        self._start(self._read())

    @property
    def is_lost(self) -> bool:
        """Whether its stream has ended and there is no other one yet."""
        return self._call is None

    def send(self, group: Group) -> None:
        """One step of each of its sessions, in one message; `group` knows since when it is due."""
        assert self._inputs is not None
        group.sent_s = time.monotonic()
        group.missing = len(group.sessions)
        if self._call is None:
            for session in group.sessions:
                self._strand(session, group.sent_s)
            return
        inputs = self._inputs
        parts = [session.step(group.steps, inputs.rest(group.steps)) for session in group.sessions]
        self._post(b"".join(parts) if len(parts) > 1 else parts[0])

    async def close(self) -> None:
        """Close the sessions, whatever is under way; what was lost before stays so."""
        self._over = True
        now_s = time.monotonic()
        for session in self._sessions.values():
            if session.under_way:
                self._record(session, NO_ANSWER, now_s, answered=False)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._call is not None:
            call, self._call = self._call, None
            await close_all(call, list(self._sessions.values()))

    async def _begin(self) -> LightCall:
        """A stream with all sessions open on it, or with none. Raises BenchProblem."""
        call = await self._connections.call(self._place)
        sessions = list(self._sessions.values())
        try:
            opened = await open_all(call, sessions, self._opening)
            self._inputs = self._inputs or self._made_up(opened)
        except BenchProblem:
            await close_all(call, sessions)
            raise
        return call

    def _made_up(self, opened: v1.Opened) -> Inputs:
        """What to send, tried for every length. Raises BenchProblem."""
        plan = self._plan
        inputs = Inputs(opened, plan.free_size, plan.timeout_s, plan.seed)
        for steps in set(plan.lengths.choices):
            inputs.rest(steps)
        return inputs

    def _post(self, message: bytes) -> None:
        assert self._call is not None
        if not self._outbox and self._call.post(message):
            return
        self._outbox.append(message)
        if len(self._outbox) == 1:
            self._start(self._drain())

    async def _drain(self) -> None:
        """Messages that the peer had no room for, in their order."""
        while self._outbox and self._call is not None:
            with suppress(BenchProblem):  # the connection is gone, as the reader will find
                await self._call.write(self._outbox[0])
            self._outbox.popleft()

    async def _read(self) -> None:
        while not self._over:
            assert self._call is not None
            while (reply := await self._call.read()) is not None:
                self._take(reply, time.monotonic())
            self._call = None
            self._outbox.clear()
            await self._revive()

    async def _revive(self) -> None:
        """Begin anew; what was under way has no answer, and its groups are free after that."""
        now_s = time.monotonic()
        for session in self._sessions.values():
            if session.under_way or session.replaced:
                self._strand(session, now_s)
        call = None
        while call is None and not self._over:
            await asyncio.sleep(AGAIN_AFTER_S)
            with suppress(BenchProblem):
                call = await self._begin()
        self._call = call
        stranded, self._stranded = self._stranded, []
        now_s = time.monotonic()
        for session in stranded:
            self._free(session, now_s)

    def _strand(self, session: DrivenSession, now_s: float) -> None:
        if not session.replaced:
            self._record(session, STREAM_ENDED, now_s, answered=False)
        self._stranded.append(session)

    def _take(self, reply: bytes, now_s: float) -> None:
        for event in v1.EventFrame.FromString(reply).events:
            session = self._sessions.get(event.id)
            if session is None or not (session.under_way or session.replaced):
                continue  # said unasked
            if event.HasField("stepped"):
                assert self._inputs is not None
                steps = session.group.steps
                if self._inputs.is_right(event.stepped, session.index, steps):
                    session.index += steps
                    self._ended(session, ANSWERED, now_s)
                else:
                    self._ended(session, WRONG_ANSWER, now_s)
            elif event.HasField("error"):
                self._failed(session, from_status(event.error).reason, now_s)
            elif event.HasField("opened"):
                session.begin(event.opened.session_id)
                self._free(session, now_s)

    def _failed(self, session: DrivenSession, reason: str, now_s: float) -> None:
        if session.under_way:
            self._ended(session, reason, now_s)
        else:  # another session was asked for
            asyncio.get_running_loop().call_later(AGAIN_AFTER_S, self._replace, session)

    def _ended(self, session: DrivenSession, outcome: str, now_s: float) -> None:
        self._record(session, outcome, now_s, answered=True)
        if outcome in LOST:
            session.replaced = True
            self._replace(session)
        else:
            self._free(session, now_s)

    def _replace(self, session: DrivenSession) -> None:
        if self._call is not None and session.replaced:
            operation = v1.Operation(id=session.number, open=self._opening)
            frame = v1.OperationFrame(operations=[operation])
            self._post(frame.SerializeToString())

    def _record(
        self, session: DrivenSession, outcome: str, now_s: float, *, answered: bool
    ) -> None:
        group = session.group
        done_s = now_s if answered else float("nan")
        self._book.add(group.due_s, group.taken_s, group.sent_s, done_s, group.steps, outcome)
        session.under_way = False

    def _free(self, session: DrivenSession, now_s: float) -> None:
        group = session.group
        group.missing -= 1
        if not group.missing:
            self._freed(group, now_s)

    def _start(self, work: "asyncio._CoroutineLike[None]") -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
