"""The engine as the wire sees it: models by name, and open, step and close.

Every method is synchronous and answers at once or, for what takes time, tells a listener later.
"""

import contextlib
import hashlib
import time
from collections.abc import Callable, Mapping

from rnnserve.engine.chunk import Chunk, Listener
from rnnserve.engine.meter import Cause, Meter
from rnnserve.engine.model import Model
from rnnserve.engine.session import Session, SessionLimits, State
from rnnserve.engine.slots import Rows
from rnnserve.engine.table import SessionTable, TableLimits
from rnnserve.errors import Reason, Refusal


class Engine:
    """Sessions over models. Lives on one thread."""

    def __init__(
        self,
        models: Mapping[str, Model],
        *,
        table: TableLimits,
        sessions: SessionLimits,
        meter: Meter,
        wake: Callable[[Model], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`wake` is called whenever a model has work; `clock` tells seconds, and only forward."""
        self.models = dict(models)
        self.meter = meter
        self.table = SessionTable(table, sessions, meter, clock)
        self.draining = False
        self._wake = wake
        self._clock = clock

    def model(self, name: str, version: int = 0) -> Model:
        """The model of that name; version 0 is whichever is served. Raises Refusal."""
        if not name:
            raise Refusal(Reason.MISSING_FIELD, "no model is named", field="model")
        model = self.models.get(name)
        if model is None or version not in (0, model.spec.version):
            raise unknown_model(name, version)
        return model

    def open(self, name: str, version: int = 0, *, held: bool = False) -> tuple[Session, Model]:
        """A new session; one that is `held` by a call never idles.

        Raises Refusal: unknown_model, too_many_sessions, draining.
        """
        model = self.model(name, version)
        if self.draining:
            raise Refusal(
                Reason.DRAINING, "the server is stopping: open elsewhere", retry_after_s=1.0
            )
        return self.table.open(model, held=held), model

    def session(self, session_id: str) -> tuple[Session, Model]:
        """A live session, whose idle time begins anew. Raises Refusal."""
        entry = self.table.use(session_id)
        if entry.on_end:
            raise Refusal(Reason.SESSION_CLOSED, "the session is being closed")
        return entry.session, entry.model

    def step(self, session_id: str, index: int, inputs: Rows, listener: Listener) -> None:
        """Take T steps; `inputs` are checked and in the spec's order, each (T, ...).

        The listener is told the Reply or the Refusal, now (a resend) or later. Raises Refusal where
        the chunk isn't taken at all; then nothing has changed and the listener isn't called.
        """
        session, model = self.session(session_id)
        steps = len(inputs[0])
        digest = _digest(inputs)
        earlier = session.begin(index, steps, digest)
        if isinstance(earlier, Chunk):
            self.meter.resent(model.spec.name)
            earlier.listeners.append(listener)
        elif earlier is not None:
            self.meter.resent(model.spec.name)
            listener(earlier)
        else:
            chunk = Chunk(
                session_id, session.lease, index, steps, inputs, digest, self._clock(), [listener]
            )
            model.submit(chunk)
            session.admit(chunk)
            self._wake(model)

    def close(self, session_id: str, told: Callable[[Session], None]) -> None:
        """End a session once its chunks under way are answered; then `told` is called.

        Raises Refusal when there is no such session.
        """
        session, _ = self.session(session_id)
        self.table.use(session_id).on_end.append(told)
        if session.state is State.OPEN:
            self.table.end(session_id, Cause.CLOSED)
        else:
            # Behind the last chunk's own listeners: its answer comes first.
            session.pending[-1].listeners.append(lambda _: self.table.end(session_id, Cause.CLOSED))

    def discard(self, session_id: str) -> None:
        """Close a session that nobody asks for any more; one that is gone already is fine."""
        with contextlib.suppress(Refusal):
            self.close(session_id, lambda _: None)

    def drain(self) -> None:
        """Refuse new sessions from now on."""
        self.draining = True

    def audit(self) -> list[str]:
        """What is wrong anywhere in the engine, in words; empty when all is sound."""
        wrong = [problem for model in self.models.values() for problem in model.audit()]
        held = sum(len(model.sessions) for model in self.models.values())
        if held != len(self.table):
            wrong.append(f"the table has {len(self.table)} sessions, the models {held}")
        return wrong


def unknown_model(name: str, version: int) -> Refusal:
    """No such model. The name is cut: it comes from outside and goes into a header."""
    wanted = f"{name[:80]!r}" + (f" version {version}" if version else "")
    return Refusal(Reason.UNKNOWN_MODEL, f"no model {wanted} is served; ListModels tells which are")


def _digest(inputs: Rows) -> bytes:
    """Tells one chunk's input from another's."""
    digest = hashlib.blake2b(digest_size=16)
    for array in inputs:
        digest.update(array.nbytes.to_bytes(8, "little"))
        digest.update(array.data if array.flags.c_contiguous else array.tobytes())
    return digest.digest()
