"""One operation of a frame, applied to the engine; its answer as an event."""

from collections.abc import Callable
from functools import partial

from rnnserve.engine.chunk import Reply
from rnnserve.engine.engine import Engine
from rnnserve.engine.model import Model
from rnnserve.engine.session import Session
from rnnserve.errors import Reason, Refusal
from rnnserve.v1 import rnnserve_pb2 as v1
from rnnserve.wire.status import internal, status_of
from rnnserve.wire.tensors import decode, encode, tensor_message

MAX_FRAME_OPERATIONS = 1024

Answer = Callable[[v1.Event], None]
"""Called exactly once for every operation, now or later."""


class Operations:
    """Applies operations. Whatever goes wrong with one becomes its own event."""

    def __init__(self, engine: Engine, max_frame_bytes: int) -> None:
        self._engine = engine
        self._max_frame_bytes = max_frame_bytes

    def apply_frame(
        self, frame: v1.OperationFrame, answer: Callable[[int, v1.Event], None]
    ) -> None:
        """Start every operation of a frame, in order; a frame that is too large starts none.

        `answer` is called with an operation's place in the frame and its event.
        """
        size_bytes = frame.ByteSize()
        if size_bytes <= self._max_frame_bytes:
            for place, operation in enumerate(frame.operations):
                self._apply(operation, partial(answer, place))
            return
        refusal = Refusal(
            Reason.FRAME_TOO_LARGE,
            f"a frame of {size_bytes} bytes; at most {self._max_frame_bytes}",
            limit=self._max_frame_bytes,
        )
        for place, operation in enumerate(frame.operations):
            answer(place, self._refused(operation.id, refusal))

    def check_count(self, frame: v1.OperationFrame) -> None:
        """Refuse a whole frame of too many operations (frame_too_large).

        Each of them would cost an answer, and the loop is everybody's.
        """
        if len(frame.operations) > MAX_FRAME_OPERATIONS:
            raise Refusal(
                Reason.FRAME_TOO_LARGE,
                f"a frame of {len(frame.operations)} operations; at most {MAX_FRAME_OPERATIONS}",
                limit=MAX_FRAME_OPERATIONS,
            )

    def _apply(self, operation: v1.Operation, answer: Answer) -> None:
        try:
            match operation.WhichOneof("kind"):
                case "step":
                    self._step(operation, answer)
                case "open":
                    answer(self._open(operation))
                case "close":
                    self._close(operation, answer)
                case _:
                    raise Refusal(Reason.MISSING_FIELD, "an operation without a kind", field="kind")
        except Refusal as refusal:
            answer(self._refused(operation.id, refusal))
        except Exception as error:
            answer(self._refused(operation.id, internal(error)))

    def _open(self, operation: v1.Operation) -> v1.Event:
        session, model = self._engine.open(operation.open.model, operation.open.version)
        try:
            return self._opened(operation.id, session, model)
        except Exception:
            self._engine.discard(session.id)
            raise

    def _opened(self, operation_id: int, session: Session, model: Model) -> v1.Event:
        table = self._engine.table.limits
        return v1.Event(
            id=operation_id,
            opened=v1.Opened(
                session_id=session.id,
                version=model.spec.version,
                inputs=map(tensor_message, model.spec.inputs),
                outputs=map(tensor_message, model.spec.outputs),
                limits=v1.Limits(
                    max_chunk_steps=session.limits.max_chunk_steps,
                    max_pending_chunks=session.limits.max_pending_chunks,
                    kept_replies=session.limits.kept_replies,
                    idle_timeout_s=table.idle_timeout_s,
                    max_frame_bytes=self._max_frame_bytes,
                ),
            ),
        )

    def _step(self, operation: v1.Operation, answer: Answer) -> None:
        step = operation.step
        _, model = self._engine.session(step.session_id)
        inputs = decode(model.spec, step)
        listener = partial(self._stepped, operation.id, answer)
        self._engine.step(step.session_id, step.index, inputs, listener)

    def _stepped(self, operation_id: int, answer: Answer, outcome: Reply | Refusal) -> None:
        if isinstance(outcome, Refusal):
            answer(self._refused(operation_id, outcome))
            return
        stepped = v1.Stepped(index=outcome.index, outputs=encode(outcome.outputs))
        answer(v1.Event(id=operation_id, stepped=stepped))

    def _close(self, operation: v1.Operation, answer: Answer) -> None:
        def closed(session: Session) -> None:
            answer(v1.Event(id=operation.id, closed=v1.Closed(steps=session.steps)))

        self._engine.close(operation.close.session_id, closed)

    def _refused(self, operation_id: int, refusal: Refusal) -> v1.Event:
        self._engine.meter.refused(refusal.reason)
        return v1.Event(id=operation_id, error=status_of(refusal))
