"""Sequences: sessions that clients number themselves, as the Open Inference Protocol has them.

    start                  a new session; a live one of the same number ends early
    no start               the live one goes on; without one: sequence_not_started
    end                    the session ends behind this step

A sequence is a session like any other, in the same table; only the way to find it is another. Its
steps have no index: they run in the order in which they came, and one that fails leaves those
behind it in line.
"""

import logging
from collections import OrderedDict
from dataclasses import dataclass

from rnnserve.engine.chunk import Listener, Memory
from rnnserve.engine.engine import Engine
from rnnserve.engine.marks import Correlation
from rnnserve.engine.meter import Cause
from rnnserve.engine.model import Model
from rnnserve.engine.session import Session
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
        raise self._not_started(name)

    def step(
        self,
        name: Name,
        model: Model,
        request: Request,
        listener: Listener,
        timeout_s: float,
    ) -> None:
        """Take one step; `model` is what `model()` said. The listener is told as by `Model.submit`.

        Raises Refusal where it isn't taken: sequence_not_started, what opening raises, and what
        `Model.submit` raises; a sequence that would have started then has not.
        """
        entry = self._start(name, model, request) if request.start else self.entry(name)
        session = entry.session
        try:
            self._engine.check_growth(model)
            model.submit(
                session,
                session.admitted,
                request.inputs,
                listener,
                self._engine.now_s(),
                timeout_s,
                shapes=request.shapes,
                is_last=request.end,
            )
        except Refusal:
            if request.start:
                self._engine.discard(session.id)
            raise
        if request.end:
            self._engine.close(entry, lambda _: None)

    def _start(self, name: Name, model: Model, request: Request) -> Entry:
        version = model.spec.version
        before = self._live.get(name.key, {}).pop(version, None)
        if before is not None and before.shut is None:
            logger.warning(
                "sequence %s for model %r has a conflict. The previous sequence did not end before "
                "this sequence start. Previous sequence will be terminated early.",
                name.correlation,
                name.model,
            )
            self._engine.discard(before.session.id)
        entry = self._engine.open(model, request.carry, correlation=name.correlation)
        self._live.setdefault(name.key, {})[version] = entry
        self._ended.pop(name.key, None)

        def ended(session: Session) -> None:
            live = self._live.get(name.key, {})
            if live.get(version) is entry:
                del live[version]
                self._remember(name.key, session)
            if not live:
                self._live.pop(name.key, None)

        entry.on_end.append(ended)
        return entry

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
