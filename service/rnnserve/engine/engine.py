"""The engine as the wire sees it: models by name, and what can be done with a session.

Every method is synchronous and answers at once or, for what takes its turn behind steps under way,
tells somebody later.
"""

import contextlib
import math
import time
from collections.abc import Callable, Iterable
from typing import TypeVar

import numpy as np

from rnnserve.engine import blob
from rnnserve.engine.backlog import Backlog
from rnnserve.engine.chunk import Listener, Memory
from rnnserve.engine.generation import Audience, Generation
from rnnserve.engine.generation import Cause as Ending
from rnnserve.engine.loose import LooseSlots
from rnnserve.engine.marks import Correlation
from rnnserve.engine.meter import Cause, Meter
from rnnserve.engine.model import Model
from rnnserve.engine.sampling import Sampling
from rnnserve.engine.served import Served
from rnnserve.engine.session import Session, SessionLimits, State
from rnnserve.engine.slots import Rows
from rnnserve.engine.table import Entry, SessionTable, TableLimits
from rnnserve.errors import Reason, Refusal
from rnnserve.repository.spec import Shape

T = TypeVar("T")
Told = Callable[[T | Exception], None]
"""Called once: with what came of it, a Refusal, or the exception of a bug."""

MAX_BLOB_BYTES = 16 << 20
"""Of a carry that is exported: packing it takes the loop 0.2 s."""
MAX_FORKS = 256
"""Sessions that one fork may make."""


class Engine:
    """Sessions over models. Lives on one thread."""

    def __init__(
        self,
        models: Iterable[Model],
        *,
        table: TableLimits,
        sessions: SessionLimits,
        backlog: Backlog,
        meter: Meter,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`clock` tells seconds, and only forward. The models count into the same `backlog`."""
        self.served = Served(models)
        self.meter = meter
        self.table = SessionTable(table, sessions, meter, clock)
        self.model = self.served.find
        self.session = self.table.use
        self.backlog = backlog
        self.draining = False
        self.now_s = clock

    def open(
        self,
        model: Model,
        carry: Rows | None = None,
        *,
        held: bool = False,
        correlation: Correlation | None = None,
    ) -> Entry:
        """A new session, from the model's own carry or from another (each entry without rows); one
        that is `held` by a call never idles, one with a `correlation` is a sequence.

        Raises Refusal: too_many_sessions, no_carry_room, draining.
        """
        self._make_room(model)
        return self.table.open(model, carry, held=held, correlation=correlation)

    def check_growth(self, model: Model) -> None:
        """Refuse (no_carry_room) a step of a session whose carry may grow, where there is no more
        room for any."""
        if isinstance(model.slots, LooseSlots):
            self.table.check_bytes(0)

    def close(self, entry: Entry, told: Told[int], cause: Cause = Cause.CLOSED) -> None:
        """End a session behind its steps under way; `told` how many it took."""
        entry.on_end.append(lambda session: told(session.steps))
        entry.shut = Reason.SESSION_CLOSED
        session_id = entry.session.id
        if entry.session.state is State.OPEN:
            self.table.end(session_id, cause)
        else:
            # Behind the last chunk's own listeners: its answer comes first.
            last = entry.session.pending[-1]
            last.then(lambda _: self._end(session_id, cause))

    def discard(self, session_id: str, cause: Cause = Cause.CLOSED) -> None:
        """Close a session that nobody asks for any more; one that is gone already is fine."""
        with contextlib.suppress(Refusal):
            self.close(self.session(session_id), lambda _: None, cause)

    def reset(self, entry: Entry, index: int, carry: Rows | None, told: Told[int]) -> None:
        """Let the carry begin anew, from zeros or a given one; the index goes on.

        `told` the index, or index_gap and index_past when the session doesn't stand there. The last
        reset sent again is answered again, and changes nothing; with another carry it is refused
        (other_input).
        """

        mark = b"" if carry is None else b"".join(array.tobytes() for array in carry)

        def act() -> int:
            if entry.session.begin_anew(index, mark):
                entry.model.slots.write(entry.session.lease, carry)
            return index

        in_turn(entry.session, act, told)

    def fork(
        self, entry: Entry, count: int, index: int | None, told: Told[tuple[list[str], int]]
    ) -> None:
        """Make `count` sessions with the same carry and index; all or none.

        `told` their ids and the index. Raises Refusal: too_many_forks, draining.
        """
        if not 1 <= count <= MAX_FORKS:
            raise Refusal(
                Reason.TOO_MANY_FORKS, f"{count} forks; 1 to {MAX_FORKS} at once", limit=MAX_FORKS
            )
        self._make_room(entry.model, count)

        def act() -> tuple[list[str], int]:
            entry.session.at(index)
            self._check_forks(entry, count)
            forks = [self._fork(entry) for _ in range(count)]
            return [fork.session.id for fork in forks], entry.session.steps

        in_turn(entry.session, act, told)

    def export(self, entry: Entry, index: int | None, told: Told[tuple[bytes, int]]) -> None:
        """The session as a blob, and its index; it goes on living."""

        def act() -> tuple[bytes, int]:
            session, model = entry.session, entry.model
            session.at(index)
            _check_exportable(model, session)
            carry = model.slots.read(session.lease)
            return blob.pack(model.spec, model.fingerprint, session.steps, carry), session.steps

        in_turn(entry.session, act, told)

    def restore(self, model: Model, data: bytes) -> Entry:
        """A new session from an exported one.

        Raises Refusal: blob_damaged, blob_foreign, and what `open` raises.
        """
        self._make_room(model)
        self.table.check_room(model)
        index, carry = blob.unpack(model.spec, model.fingerprint, data)
        self.table.check_room(model, each_bytes=sum(array.nbytes for array in carry))
        return self.table.open(model, carry, steps=index)

    def generate(
        self,
        entry: Entry,
        prompt: np.ndarray,  # (T,)
        sampling: Sampling,
        audience: Audience,
        *,
        feed_last: bool,
    ) -> Generation:
        """Let a generation move the session. Raises Refusal where it doesn't begin."""
        if entry.session.state is not State.OPEN:
            raise Refusal(
                Reason.SESSION_BUSY, "steps of the session are under way; wait for their answers"
            )

        def ended(outcome: Ending | Exception) -> None:
            entry.session.answered_s = self.now_s()
            entry.shut = None
            audience.ended(outcome)

        generation = Generation(
            entry.model,
            entry.session,
            prompt,
            sampling,
            Audience(audience.token, ended),
            feed_last=feed_last,
        )
        entry.shut = Reason.SESSION_BUSY
        try:
            generation.start()
        except Exception:
            entry.shut = None
            raise
        return generation

    def fork_now(self, entry: Entry) -> Entry:
        """A fork of a session in which nothing is under way. Raises Refusal."""
        self._make_room(entry.model)
        if entry.session.state is not State.OPEN:
            raise Refusal(
                Reason.SESSION_BUSY, "steps of the session are under way; wait for their answers"
            )
        self._check_forks(entry, 1)
        return self._fork(entry)

    def visit(
        self,
        model: Model,
        inputs: Memory,
        shapes: tuple[Shape, ...],
        rows: int,
        listener: Listener,
        timeout_s: float = math.inf,
    ) -> None:
        """Take a request that stands alone, as `Model.visit` does. Raises Refusal: draining, and
        what that raises."""
        self.check_open()
        model.visit(inputs, shapes, rows, listener, self.now_s(), timeout_s)

    @property
    def has_callers(self) -> bool:
        """Whether a session is open, or a request that stands alone under way."""
        return len(self.table) > 0 or any(model.guests for model in self.served)

    @property
    def is_at_rest(self) -> bool:
        """Whether all that was taken in is answered."""
        return not self.backlog.steps and not any(model.generations for model in self.served)

    def drain(self) -> None:
        """Refuse new sessions, and requests that stand alone, from now on."""
        self.draining = True

    def _end(self, session_id: str, cause: Cause) -> None:
        """Close a session that may have ended meanwhile by itself."""
        with contextlib.suppress(KeyError):
            self.table.end(session_id, cause)

    def _fork(self, entry: Entry) -> Entry:
        session = entry.session
        carry = entry.model.slots.read(session.lease)
        fork = self.table.open(entry.model, carry, steps=session.steps)
        fork.session.latest = session.latest
        fork.session.origin = session.origin
        return fork

    def drop(self, model: Model) -> None:
        """A model that has retired, and has no sessions any more, is gone."""
        self.served.drop(model)
        self.table.forget(model)

    def _check_forks(self, entry: Entry, count: int) -> None:
        """Refuse unless so many sessions with this one's carry may be opened."""
        each_bytes = entry.model.slots.size_bytes(entry.session.lease)
        self.table.check_room(entry.model, count, each_bytes)

    def check_open(self) -> None:
        """Refuse (draining) where no new sessions are taken."""
        if self.draining:
            raise Refusal(
                Reason.DRAINING, "the server is stopping: open elsewhere", retry_after_s=1.0
            )

    def _make_room(self, model: Model, count: int = 1) -> None:
        """End what is due, so that its room may be taken. Raises Refusal (draining)."""
        self.check_open()
        # Here, and not where a fork's turn has come: what ends then may have a turn of its own.
        self.table.make_room(model, count)


def _check_exportable(model: Model, session: Session) -> None:
    """Refuse (cannot_export) a carry of text, and one that would hold up everybody else."""
    if any(entry.dtype.kind == "O" for entry in model.spec.carry):
        raise Refusal(Reason.CANNOT_EXPORT, "a carry with text in it can't be exported")
    size_bytes = model.slots.size_bytes(session.lease)
    if size_bytes > MAX_BLOB_BYTES:
        raise Refusal(
            Reason.CANNOT_EXPORT,
            f"the session carries {size_bytes} bytes; at most {MAX_BLOB_BYTES} are exported",
            limit=MAX_BLOB_BYTES,
        )


def in_turn(session: Session, act: Callable[[], T], told: Told[T]) -> None:
    """Do it behind the steps that came before, and tell what came of it."""

    def now(_: object = None) -> None:
        try:
            if session.state is State.CLOSED:
                raise Refusal(Reason.SESSION_CLOSED, "the session has ended", session=session.id)
            outcome: T | Exception = act()
        except Exception as error:
            outcome = error
        told(outcome)

    last = session.pending[-1] if session.pending else None
    # A settled one that still stands there was abandoned with the whole model.
    if last is not None and last.listener is not None:
        last.then(now)
    else:
        now()
