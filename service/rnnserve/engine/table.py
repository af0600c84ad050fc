"""Every live session by its id, how many there may be, and what became of the others."""

import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from rnnserve.engine.meter import Cause, Meter
from rnnserve.engine.model import Model
from rnnserve.engine.session import Session, SessionLimits, State
from rnnserve.errors import Reason, Refusal

REMEMBERED_ENDS = 10_000
"""Ended sessions of which is still known how they ended."""

_TOLD = {
    Cause.CLOSED: (Reason.SESSION_CLOSED, "the session was closed"),
    Cause.IDLE: (Reason.SESSION_EXPIRED, "the session was idle for too long and has ended"),
    Cause.DRAINED: (Reason.DRAINING, "the session ended with the server's stop"),
}


@dataclass(frozen=True)
class TableLimits:
    max_sessions: int = 1024
    idle_timeout_s: float = 60.0


@dataclass(slots=True)
class Entry:
    session: Session
    model: Model
    used_s: float
    on_end: list[Callable[[Session], None]]
    """Told when the session has ended; a close that had to wait is here."""
    held: bool = False
    """A call keeps it: it lives as long as the call and never idles."""


class SessionTable:
    """The one owner of who is live. Entries stand in the order of their last use."""

    def __init__(
        self,
        limits: TableLimits,
        session_limits: SessionLimits,
        meter: Meter,
        clock: Callable[[], float],
    ) -> None:
        self.limits = limits
        self.session_limits = session_limits
        self._meter = meter
        self._clock = clock
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self._ended: OrderedDict[str, Cause] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def open(self, model: Model, *, held: bool = False) -> Session:
        """A new session with a carry of zeros; one that is `held` by a call never idles.

        Raises Refusal (too_many_sessions) when the table or the model's slots are full.
        """
        self.expire()
        if len(self._entries) >= self.limits.max_sessions or not model.slots.free_count:
            raise Refusal(
                Reason.TOO_MANY_SESSIONS,
                f"{len(self._entries)} sessions are open; at most {self.limits.max_sessions}",
                retry_after_s=1.0,
                limit=self.limits.max_sessions,
            )
        # 128 random bits: the id is what entitles a client to the session.
        limits = self.session_limits.for_outputs(model.spec)
        session = Session(secrets.token_urlsafe(16), model.slots.take(), limits)
        model.sessions[session.id] = session
        self._entries[session.id] = Entry(session, model, self._clock(), [], held)
        self._meter.opened(model.spec.name)
        return session

    def use(self, session_id: str) -> Entry:
        """The live session of that id, whose idle time begins anew.

        Raises Refusal: not_open (no id), session_closed, session_expired or unknown_session.
        """
        if not session_id:
            raise Refusal(Reason.NOT_OPEN, "no session id: open a session first")
        entry = self._entries.get(session_id)
        if entry is None:
            raise self._gone(session_id)
        now_s = self._clock()
        if self._is_idle(entry, now_s):
            self.end(session_id, Cause.IDLE)
            raise self._gone(session_id)
        entry.used_s = now_s
        self._entries.move_to_end(session_id)
        return entry

    def end(self, session_id: str, cause: Cause) -> None:
        """Take the session out and give its slot back; chunks under way must be over."""
        entry = self._entries.pop(session_id)
        entry.session.end()
        del entry.model.sessions[session_id]
        entry.model.slots.release(entry.session.lease)
        self._ended[session_id] = cause
        if len(self._ended) > REMEMBERED_ENDS:
            self._ended.popitem(last=False)
        self._meter.ended(entry.model.spec.name, cause)
        for told in entry.on_end:
            told(entry.session)

    def expire(self) -> int:
        """End what has been idle for too long; returns how many."""
        now_s = self._clock()
        idle = []
        for entry in self._entries.values():
            if now_s - entry.used_s < self.limits.idle_timeout_s:
                # Entries stand in the order of their last use: all that follow are younger.
                break
            if self._is_idle(entry, now_s):
                idle.append(entry.session.id)
        for session_id in idle:
            self.end(session_id, Cause.IDLE)
        return len(idle)

    def end_all(self, cause: Cause) -> None:
        """End every session in which nothing is under way."""
        for session_id, entry in list(self._entries.items()):
            if not entry.session.pending:
                self.end(session_id, cause)

    def _is_idle(self, entry: Entry, now_s: float) -> bool:
        # Idle begins with the last answer: a chunk may take longer than the timeout.
        since_s = max(entry.used_s, entry.session.answered_s)
        return (
            entry.session.state is State.OPEN
            and not entry.held
            and now_s - since_s >= self.limits.idle_timeout_s
        )

    def _gone(self, session_id: str) -> Refusal:
        cause = self._ended.get(session_id)
        if cause is None:
            return Refusal(Reason.UNKNOWN_SESSION, "no session has this id")
        reason, message = _TOLD[cause]
        return Refusal(reason, message, session=session_id)
