"""Sequences: sessions that clients number themselves, as the Open Inference Protocol has them.

    start                  a new session; a live one of the same number ends early
    no start               the live one goes on; without one: sequence_not_started
    end                    the session ends behind this step

A sequence is a session like any other, in the same table; only the way to find it is another. Its
steps have no index: they run in the order in which they came, and one that fails leaves those
behind it in line.
"""

import logging
import math
from collections import OrderedDict
from dataclasses import dataclass

from rnnserve.engine import initial
from rnnserve.engine.chunk import Listener, Memory
from rnnserve.engine.engine import Engine
from rnnserve.engine.marks import Correlation
from rnnserve.engine.meter import Cause
from rnnserve.engine.model import Model
from rnnserve.engine.session import Session, State
from rnnserve.engine.slots import Rows
from rnnserve.engine.table import Entry
from rnnserve.errors import Reason, Refusal
from rnnserve.repository.spec import Shape

logger = logging.getLogger(__name__)

Key = tuple[str, Correlation]
"""A model's name and what a client calls its sequence: that is enough but where several versions of
the model are stepped under one number."""
REMEMBERED_ENDS = 10_000
ENDED = frozenset({Reason.SESSION_CLOSED, Reason.SESSION_EXPIRED, Reason.SESSION_TOO_OLD})


@dataclass(frozen=True, slots=True)
class Name:
    """What a client says of a sequence: the model, the version it named (0: none), its number."""

    model: str
    version: int
    correlation: Correlation

    @property
    def key(self) -> Key:
        return self.model, self.correlation


@dataclass(frozen=True, slots=True)
class Request:
    """One step of a sequence, checked before."""

    inputs: Memory
    shapes: tuple[Shape, ...] | None
    """Of each input, without rows, where the model is shaped."""
    start: bool
    end: bool
    listener: Listener
    """Told as by `Model.submit`."""
    timeout_s: float = math.inf
    carry: Rows | None = None
    """What a sequence that starts begins with; None: the model's own."""


class Sequences:
    """Which session each sequence is. The one owner of that."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._live: dict[Key, dict[int, Entry]] = {}
        """By version; the one that started last comes last."""
        self._ended: OrderedDict[Key, Cause] = OrderedDict()

    def __len__(self) -> int:
        return sum(map(len, self._live.values()))

    def model(self, name: Name, *, start: bool) -> Model:
        """The model that the sequence's next step goes to: a live one stays with the version on
        which it began. Raises Refusal (unknown_model)."""
        entry = None if start else self._find(name)
        return self._engine.model(name.model, name.version) if entry is None else entry.model

    def entry(self, name: Name) -> Entry:
        """The live session of a sequence that has started. Raises Refusal (sequence_not_started);
        its fact `cause` says how the sequence ended, or `unknown`."""
        entry = self._find(name)
        try:
            if entry is not None:
                return self._engine.session(entry.session.id)
        except Refusal as refusal:
            if refusal.reason not in ENDED:
                raise
        if self._ended.get(name.key) is Cause.DRAINED:
            self._engine.check_open()
        raise self._not_started(name)

    def step(self, name: Name, model: Model, request: Request) -> None:
        """Take one step; `model` is what `model()` said.

        Raises Refusal where it isn't taken: sequence_not_started, what opening raises, and what
        `Model.submit` raises. Then nothing has changed: a sequence that would have started has not,
        and one that would have ended for it goes on.
        """
        if request.start:
            self._start(name, model, request)
            return
        entry = self.entry(name)
        self._submit(entry, request)

    def _submit(self, entry: Entry, request: Request) -> None:
        if not request.end:
            # What ends needs no room any more.
            self._engine.check_growth(entry.model)
        session = entry.session
        entry.model.submit(
            session,
            session.admitted,
            request.inputs,
            request.listener,
            self._engine.now_s(),
            request.timeout_s,
            shapes=request.shapes,
            is_last=request.end,
        )
        if request.end:
            self._engine.close(entry, lambda _: None)

    def _start(self, name: Name, model: Model, request: Request) -> None:
        self._engine.check_open()
        before = self._live.get(name.key, {}).get(model.spec.version)
        if before is None or before.shut is not None:
            self._open(name, model, request)
            return
        if before.model is model and before.session.state is State.OPEN:
            self._begin_anew(before, request)
        else:
            self._open(name, model, request)
            self._engine.discard(before.session.id)
        logger.warning(
            "sequence %r for model %r has a conflict. The previous sequence did not end before "
            "this sequence start. Previous sequence will be terminated early.",
            name.correlation,
            name.model,
        )

    def _begin_anew(self, entry: Entry, request: Request) -> None:
        """Start where one of the same number is idle: in its place, whether or not there is room
        for another."""
        slots, session = entry.model.slots, entry.session
        carry, origin = slots.read(session.lease), session.origin
        anew = initial.beginning(entry.model.spec) if request.carry is None else request.carry
        slots.write(session.lease, anew)
        session.origin = session.steps
        try:
            self._submit(entry, request)
        except Refusal:
            slots.write(session.lease, carry)
            session.origin = origin
            raise
        entry.opened_s = entry.used_s = self._engine.now_s()

    def _open(self, name: Name, model: Model, request: Request) -> None:
        """Start in a session of its own."""
        entry = self._engine.open(model, request.carry, correlation=name.correlation)
        version = model.spec.version

        def ended(session: Session) -> None:
            live = self._live.get(name.key, {})
            if live.get(version) is entry:
                del live[version]
                self._remember(name.key, session)
            if not live:
                self._live.pop(name.key, None)

        entry.on_end.append(ended)
        live = self._live.setdefault(name.key, {})
        replaced = live.pop(version, None)
        live[version] = entry
        try:
            self._submit(entry, request)
        except Refusal:
            del live[version]
            if replaced is not None:
                live[version] = replaced
            self._engine.discard(entry.session.id)
            raise
        self._ended.pop(name.key, None)

    def _find(self, name: Name) -> Entry | None:
        """The live session of that version or, where none is named, the one that started last."""
        live = self._live.get(name.key)
        if not live:
            return None
        return live.get(name.version) if name.version else next(reversed(live.values()))

    def _remember(self, key: Key, session: Session) -> None:
        cause = self._engine.table.ended_by(session.id)
        if cause is not None:
            self._ended[key] = cause
        if len(self._ended) > REMEMBERED_ENDS:
            self._ended.popitem(last=False)

    def _not_started(self, name: Name) -> Refusal:
        cause = self._ended.get(name.key)
        how = f"it has ended ({cause})" if cause else "no such sequence has started here"
        return Refusal(
            Reason.SEQUENCE_NOT_STARTED,
            f"a sequence's first step must say that it starts: {how}",
            cause=cause or "unknown",
        )
