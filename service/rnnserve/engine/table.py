"""Every live session by its id, how many there may be, and what became of the others."""

import heapq
import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace

from rnnserve.engine.loose import LooseSlots
from rnnserve.engine.meter import Cause, Meter, SessionEnd
from rnnserve.engine.model import Model
from rnnserve.engine.session import Session, SessionLimits, State
from rnnserve.engine.slots import Rows
from rnnserve.errors import Reason, Refusal

REMEMBERED_ENDS = 10_000
"""Ended sessions of which is still known how they ended."""

SEQUENCE_LIMITS = {"kept_replies": 0, "max_pending_chunks": 1024}
"""Steps without an index can't come again; and clients of sequences don't know that a step may be
refused because others wait."""
NOWHERE = -1
"""No index."""
LEAST_AGENDA = 64
"""Looks at sessions that have ended are swept out when they are more than the others and this."""

_TOLD = {
    Cause.CLOSED: (Reason.SESSION_CLOSED, "the session was closed"),
    Cause.IDLE: (Reason.SESSION_EXPIRED, "the session was idle for too long and has ended"),
    Cause.LIFE: (Reason.SESSION_TOO_OLD, "the session has reached its maximum life and has ended"),
    Cause.FAILED: (Reason.SESSION_CLOSED, "the server failed, and the session has ended"),
    Cause.DRAINED: (Reason.DRAINING, "the session ended with the server's stop"),
}

_SHUT = {
    Reason.SESSION_CLOSED: "the session is being closed",
    Reason.DRAINING: "the server is stopping: the session ends behind its steps under way",
    Reason.SESSION_BUSY: "a generation moves the session; cancel it or wait for its end",
}


@dataclass(frozen=True)
class TableLimits:
    """How many sessions there may be, and for how long."""

    max_sessions: int = 1024
    max_carry_bytes: int = 1 << 30
    """Of all sessions together."""
    idle_timeout_s: float = 60.0
    """Of models that say nothing themselves."""
    max_life_s: float = 0.0
    """0: none."""


@dataclass(eq=False, slots=True)
class Entry:
    """A live session: where it runs, and since when."""

    session: Session
    model: Model
    opened_s: float
    used_s: float
    on_end: list[Callable[[Session], None]]
    """Told when the session has ended; a close that had to wait is here."""
    idle_timeout_s: float
    held: bool = False
    """A call keeps it: it lives as long as the call and never idles."""
    shut: Reason | None = None
    """Why it takes no operations, while it takes none: it is being closed, or generates."""


class SessionTable:
    """The one owner of who is live."""

    def __init__(
        self,
        limits: TableLimits,
        session_limits: SessionLimits,
        meter: Meter,
        clock: Callable[[], float],
    ) -> None:
        self.limits = limits
        self.session_limits = session_limits
        self.begun_bytes = 0
        """Of the carries of all sessions, at their beginning."""
        self._meter = meter
        self._clock = clock
        self._entries: dict[str, Entry] = {}
        self._agenda: list[tuple[float, str]] = []
        """A heap: when to look at a session next. Using one costs nothing here; it is found to have
        been used when its time comes, and gets another."""
        self._ended: OrderedDict[str, Cause] = OrderedDict()
        self._growing: set[LooseSlots] = set()
        """Where carries may be larger than at their beginning."""

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def carry_bytes(self) -> int:
        """Of the carries of all sessions."""
        return self.begun_bytes + sum(slots.grown_bytes for slots in self._growing)

    def entries(self) -> list[Entry]:
        """All that live now."""
        return list(self._entries.values())

    def make_room(self, model: Model, count: int = 1) -> None:
        """End what is due where there is no room otherwise."""
        try:
            self.check_room(model, count)
        except Refusal:
            self.expire()

    def check_room(self, model: Model, count: int = 1, each_bytes: int | None = None) -> None:
        """Refuse (no_carry_room, too_many_sessions) unless so many more sessions may be opened;
        `each_bytes`: what each will carry, if not what a session begins with."""
        each_bytes = model.spec.carry_bytes if each_bytes is None else each_bytes
        self.check_bytes(count * each_bytes)
        if len(self._entries) + count > self.limits.max_sessions or model.slots.free_count < count:
            raise Refusal(
                Reason.TOO_MANY_SESSIONS,
                f"{len(self._entries)} sessions are open; at most {self.limits.max_sessions}",
                retry_after_s=1.0,
                limit=self.limits.max_sessions,
            )

    def has_room_for(self, more_bytes: int) -> bool:
        """Whether the sessions may carry so much more."""
        return self.carry_bytes + more_bytes <= self.limits.max_carry_bytes

    def forget(self, model: Model) -> None:
        """The model is gone, and has no sessions."""
        if isinstance(model.slots, LooseSlots):
            self._growing.discard(model.slots)

    def check_bytes(self, more_bytes: int) -> None:
        """Refuse (no_carry_room) where the sessions would carry too much with so much more, or do
        without any."""
        if not self.has_room_for(more_bytes):
            raise Refusal(
                Reason.NO_CARRY_ROOM,
                f"the open sessions carry {self.carry_bytes} bytes; "
                f"at most {self.limits.max_carry_bytes}",
                retry_after_s=1.0,
                limit=self.limits.max_carry_bytes,
            )

    def open(
        self,
        model: Model,
        carry: Rows | None = None,
        *,
        steps: int = 0,
        held: bool = False,
        correlation: int | str | None = None,
    ) -> Entry:
        """A new session, with the model's own carry unless one is given, that has taken `steps`
        steps.

        One that is `held` by a call never idles; `correlation` is what its client calls it, where
        it is a sequence. Raises Refusal: too_many_sessions, no_carry_room.
        """
        self.check_room(model)
        limits = self.session_limits.for_model(model.spec)
        if correlation is not None:
            limits = replace(limits, **SEQUENCE_LIMITS)
        # 128 random bits: the id is what entitles a client to the session.
        session_id = secrets.token_urlsafe(16)
        session = Session(session_id, model.slots.take(carry), limits, steps)
        session.correlation = correlation
        # Of a carry that comes with steps behind it, nobody knows where it began.
        session.origin = 0 if steps == 0 else NOWHERE
        now_s = self._clock()
        entry = Entry(session, model, now_s, now_s, [], self.idle_timeout_s(model), held)
        if isinstance(model.slots, LooseSlots):
            self._growing.add(model.slots)
            model.slots.has_room = self.has_room_for
        model.sessions[session_id] = session
        self._entries[session_id] = entry
        self._look_again(entry)
        self.begun_bytes += model.spec.carry_bytes
        self._meter.opened(model.spec.name)
        return entry

    def idle_timeout_s(self, model: Model) -> float:
        """After which a session of the model ends: what the model says, or else the limit."""
        own_s = model.spec.idle_timeout_s
        return self.limits.idle_timeout_s if own_s is None else own_s

    def ended_by(self, session_id: str) -> Cause | None:
        """How a session ended, as long as that is remembered."""
        return self._ended.get(session_id)

    def use(self, session_id: str, now_s: float | None = None) -> Entry:
        """The live session of that id that takes operations; its idle time begins anew at `now_s`.

        Raises Refusal: not_open (no id), session_closed, session_expired, session_too_old,
        session_busy (it generates) or unknown_session.
        """
        entry = self._entries.get(session_id)
        if entry is None:
            raise self._gone(session_id)
        if now_s is None:
            now_s = self._clock()
        # The common case first: used a moment ago.
        if now_s - entry.used_s >= entry.idle_timeout_s or self.limits.max_life_s:
            cause = self._due(entry, now_s)
            if cause is not None:
                self.end(session_id, cause)
                raise self._gone(session_id)
        if entry.shut is not None:
            raise Refusal(entry.shut, _SHUT[entry.shut])
        entry.used_s = now_s
        return entry

    def end(self, session_id: str, cause: Cause) -> None:
        """Take the session out and give its slot back; chunks under way must be over."""
        entry = self._entries.pop(session_id)
        if len(self._agenda) > 2 * len(self._entries) + LEAST_AGENDA:
            self._agenda = [item for item in self._agenda if item[1] in self._entries]
            heapq.heapify(self._agenda)
        end = self._told_of(entry, cause)
        entry.session.end()
        del entry.model.sessions[session_id]
        entry.model.slots.release(entry.session.lease)
        self.begun_bytes -= entry.model.spec.carry_bytes
        self._ended[session_id] = cause
        if len(self._ended) > REMEMBERED_ENDS:
            self._ended.popitem(last=False)
        self._meter.ended(end)
        for told in entry.on_end:
            told(entry.session)

    def expire(self) -> int:
        """End what has been idle for too long or has lived too long; returns how many."""
        now_s = self._clock()
        ended = 0
        looked_at = []
        while self._agenda and self._agenda[0][0] <= now_s:
            _, session_id = heapq.heappop(self._agenda)
            entry = self._entries.get(session_id)
            if entry is None:
                continue
            if cause := self._due(entry, now_s):
                self.end(session_id, cause)
                ended += 1
            else:
                looked_at.append(entry)
        for entry in looked_at:
            self._look_again(entry)
        return ended

    def end_all(self, cause: Cause) -> None:
        """End every session in which nothing is under way, or nothing moves any more. The others
        take no more operations; who calls again ends those that have come to rest."""
        for session_id, entry in list(self._entries.items()):
            if entry.session.state is State.OPEN or entry.model.is_gone:
                self.end(session_id, cause)
            elif entry.shut is None:
                entry.shut = Reason.DRAINING

    def _told_of(self, entry: Entry, cause: Cause) -> SessionEnd:
        """What is told of a session at its end."""
        session, model = entry.session, entry.model
        return SessionEnd(
            model=model.spec.name,
            version=model.spec.version,
            session=session.id[:6],
            cause=cause,
            lived_s=self._clock() - entry.opened_s,
            steps=session.steps,
            chunks=session.chunks,
            tokens=session.tokens,
            resends=session.resends,
            failures=session.failures,
            carry_bytes=model.slots.size_bytes(session.lease),
        )

    def _look_again(self, entry: Entry) -> None:
        """When it could be due next. One that is busy beyond its time is looked at each time, one
        that is held never."""
        if entry.held:
            return
        limits = self.limits
        at_s = max(entry.used_s, entry.session.answered_s) + entry.idle_timeout_s
        if limits.max_life_s:
            at_s = min(at_s, entry.opened_s + limits.max_life_s)
        heapq.heappush(self._agenda, (at_s, entry.session.id))

    def _due(self, entry: Entry, now_s: float) -> Cause | None:
        """Why the session has to end now; None: it hasn't. What is under way is finished first."""
        old = self._is_old(entry, now_s)
        if now_s - entry.used_s < entry.idle_timeout_s and not old:
            return None
        if entry.held or entry.session.state is not State.OPEN:
            return None
        if old:
            return Cause.LIFE
        # Idle begins with the last answer: a chunk may take longer than the timeout.
        idle = now_s - entry.session.answered_s >= entry.idle_timeout_s
        return Cause.IDLE if idle else None

    def _is_old(self, entry: Entry, now_s: float) -> bool:
        return 0.0 < self.limits.max_life_s <= now_s - entry.opened_s

    def _gone(self, session_id: str) -> Refusal:
        if not session_id:
            return Refusal(Reason.NOT_OPEN, "no session id: open a session first")
        cause = self._ended.get(session_id)
        if cause is None:
            return Refusal(Reason.UNKNOWN_SESSION, "no session has this id")
        reason, message = _TOLD[cause]
        return Refusal(reason, message, session=session_id)
