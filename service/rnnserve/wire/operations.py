"""One operation of a frame, applied to the engine; its answer as an event."""

import asyncio
import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import TypeVar

from rnnserve.engine import initial
from rnnserve.engine.chunk import Chunk, Listener
from rnnserve.engine.engine import Engine, Told
from rnnserve.engine.model import Model
from rnnserve.engine.slots import Rows
from rnnserve.engine.table import Entry
from rnnserve.errors import Reason, Refusal
from rnnserve.repository.spec import ModelSpec
from rnnserve.v1 import rnnserve_pb2 as v1
from rnnserve.wire.answers import Answers
from rnnserve.wire.replies import Replies
from rnnserve.wire.shapes import shapes_of
from rnnserve.wire.status import internal, status_of
from rnnserve.wire.tensors import check
from rnnserve.wire.terms import Terms

T = TypeVar("T")

MAX_FRAME_OPERATIONS = 1024
"""Each of them costs an answer, and the loop is everybody's."""
AT_A_STRETCH = 64
"""Operations between which the loop has no turn: about 1 ms of them."""
LOOK_EVERY = 16
"""Operations after which is looked whether their answers can still be held: what is answered at
once, a resend say, makes them without any bound of the engine's."""


class Operations:
    """Applies operations. Whatever goes wrong with one becomes its own event."""

    def __init__(self, engine: Engine, max_frame_bytes: int) -> None:
        self._engine = engine
        self._terms = Terms(engine.table.limits, max_frame_bytes, MAX_FRAME_OPERATIONS)
        self._applying = False
        """Whether a frame is being taken in at this moment."""
        self._kinds = {
            "open": self._open,
            "close": self._close,
            "reset": self._reset,
            "fork": self._fork,
            "export": self._export,
            "import_blob": self._import,
        }

    async def apply_frame(
        self, frame: v1.OperationFrame, answers: Answers, timeout_s: float = math.inf
    ) -> None:
        """Start every operation of a frame, in order; the loop turns to others in between.

        `timeout_s`: how long the answers are of use to the caller. Where `answers` are abandoned
        meanwhile, what is left of the frame was never taken in.
        """
        arrived_s = self._engine.now_s()
        for first in range(0, len(frame.operations), AT_A_STRETCH):
            if first:
                await asyncio.sleep(0)
                if answers.is_abandoned:
                    return
            operations = frame.operations[first : first + AT_A_STRETCH]
            self.apply(operations, answers, arrived_s, timeout_s, first)

    def apply(
        self,
        operations: Iterable[v1.Operation],
        answers: Answers,
        arrived_s: float,
        timeout_s: float = math.inf,
        first: int = 0,
    ) -> None:
        """Start some operations, the `first` of which has that place in its frame; it came at
        `arrived_s` on the engine's clock."""
        self._applying = True
        full = False
        no_room: Refusal | None = None
        for place, operation in enumerate(operations, first):
            kind = operation.WhichOneof("kind")
            try:
                if place % LOOK_EVERY == 0:
                    full = answers.is_full
                if full:
                    raise Refusal(
                        Reason.OVERLOADED,
                        "answers wait to be read; read them and ask again",
                        retry_after_s=0.01,
                    )
                if kind == "step":
                    if no_room is not None and self._finds_none(operation.step, arrived_s):
                        self._refused(operation.id, answers, place, no_room)
                    else:
                        self._step(operation, answers, place, arrived_s, timeout_s)
                elif kind is None:
                    raise Refusal(Reason.MISSING_FIELD, "an operation without a kind", field="kind")
                else:
                    self._kinds[kind](operation, answers, place)
            except Exception as error:
                self._refused(operation.id, answers, place, error)
                if isinstance(error, Refusal) and error.reason is Reason.OVERLOADED and not full:
                    # Its way here holds all that is at work here.
                    no_room = error.with_traceback(None)
        self._applying = False

    def _step(
        self,
        operation: v1.Operation,
        answers: Answers,
        place: int,
        arrived_s: float,
        timeout_s: float,
    ) -> None:
        step = operation.step
        entry = self._engine.session(step.session_id, arrived_s)
        model, shapes = entry.model, None
        if model.spec.is_shaped:
            shapes = shapes_of(model.spec, step)
            self._engine.check_growth(model)
            inputs = tuple(step.inputs)
        else:
            inputs = check(model.spec, step)
        told: Listener = partial(self._stepped, operation.id, answers, place, model)
        if (span := answers.span) is not None:
            if span.skips:
                span.skips -= 1
            else:
                told = span.step(told, model, arrived_s)
        if step.timeout_us:
            timeout_s = min(timeout_s, step.timeout_us / 1e6)
        model.submit(entry.session, step.index, inputs, told, arrived_s, timeout_s, shapes=shapes)

    def _finds_none(self, step: v1.Step, arrived_s: float) -> bool:
        """Whether a step is new and finds no room, like the one before it; nothing is made for it.
        Raises Refusal for what else is wrong with it."""
        entry = self._engine.session(step.session_id, arrived_s)
        model = entry.model
        if model.spec.is_shaped:
            return False
        return model.finds_no_room(entry.session, step.index, check(model.spec, step))

    def replies(self) -> Replies:
        """For the answers of one call."""
        return Replies(self._engine.meter.replied, self._engine.now_s)

    def refuse_frame(self, frame: v1.OperationFrame, answers: Answers, refusal: Refusal) -> None:
        """Answer every operation with the refusal; none is started."""
        for place, operation in enumerate(frame.operations):
            self._refused(operation.id, answers, place, refusal)

    def _stepped(
        self,
        operation_id: int,
        answers: Answers,
        place: int,
        model: Model,
        outcome: Chunk | Refusal,
    ) -> None:
        if isinstance(outcome, Refusal):
            self._refused(operation_id, answers, place, outcome)
            return
        # An answer that is there while its step is being taken in was kept.
        ready_s = None if self._applying else outcome.session.answered_s
        answers.stepped(place, operation_id, outcome, model, ready_s)

    def _open(self, operation: v1.Operation, answers: Answers, place: int) -> None:
        model = self._engine.model(operation.open.model, operation.open.version)
        carry = read_carry(model.spec, operation.open.carry)
        self._opened(operation.id, answers, place, self._engine.open(model, carry))

    def _import(self, operation: v1.Operation, answers: Answers, place: int) -> None:
        message = operation.import_blob
        model = self._engine.model(message.model, message.version)
        self._opened(operation.id, answers, place, self._engine.restore(model, message.blob))

    def _opened(self, operation_id: int, answers: Answers, place: int, entry: Entry) -> None:
        session = entry.session
        try:
            event = v1.Event(id=operation_id, opened=self._terms.of(entry))
            event.opened.session_id, event.opened.index = session.id, session.steps
        except Exception:
            self._engine.discard(session.id)
            raise
        answers.put(place, event)

    def _close(self, operation: v1.Operation, answers: Answers, place: int) -> None:
        def closed(steps: int) -> v1.Event:
            return v1.Event(closed=v1.Closed(steps=steps))

        told = self._telling(operation.id, answers, place, closed)
        self._engine.close(self._engine.session(operation.close.session_id), told)

    def _reset(self, operation: v1.Operation, answers: Answers, place: int) -> None:
        def was_reset(index: int) -> v1.Event:
            return v1.Event(was_reset=v1.WasReset(index=index))

        reset = operation.reset
        entry = self._engine.session(reset.session_id)
        carry = read_carry(entry.model.spec, reset.carry)
        told = self._telling(operation.id, answers, place, was_reset)
        self._engine.reset(entry, reset.index, carry, told)

    def _fork(self, operation: v1.Operation, answers: Answers, place: int) -> None:
        def forked(outcome: tuple[list[str], int]) -> v1.Event:
            ids, index = outcome
            return v1.Event(forked=v1.Forked(session_ids=ids, index=index))

        fork = operation.fork
        index = fork.index if fork.HasField("index") else None
        told = self._telling(operation.id, answers, place, forked)
        self._engine.fork(self._engine.session(fork.session_id), fork.count or 1, index, told)

    def _export(self, operation: v1.Operation, answers: Answers, place: int) -> None:
        def exported(outcome: tuple[bytes, int]) -> v1.Event:
            blob, index = outcome
            return v1.Event(exported=v1.Exported(blob=blob, index=index))

        export = operation.export
        index = export.index if export.HasField("index") else None
        told = self._telling(operation.id, answers, place, exported)
        self._engine.export(self._engine.session(export.session_id), index, told)

    def _telling(
        self, operation_id: int, answers: Answers, place: int, event_of: Callable[[T], v1.Event]
    ) -> Told[T]:
        """Answers one operation with what comes of it, as an event or as an error."""

        def told(outcome: T | Exception) -> None:
            if isinstance(outcome, Exception):
                self._refused(operation_id, answers, place, outcome)
                return
            event = event_of(outcome)
            event.id = operation_id
            answers.put(place, event)

        return told

    def _refused(self, operation_id: int, answers: Answers, place: int, error: Exception) -> None:
        refusal = error if isinstance(error, Refusal) else internal(error)
        self._engine.meter.refused(refusal.reason)
        if answers.span is not None:
            answers.span.refused(refusal)
        answers.refused(place, operation_id, status_of(refusal))


def read_carry(spec: ModelSpec, message: v1.InitialCarry) -> Rows | None:
    """What a session is to begin with; None: zeros. Raises Refusal (bad_carry)."""
    match message.WhichOneof("kind"):
        case "given":
            return initial.given(spec, message.given.tensors)
        case "random":
            random = message.random
            scale = random.scale if random.HasField("scale") else 1.0
            return initial.random(spec, random.seed, scale)
        case _:
            return None
