"""The bidirectional stream of frames, and its unary twin."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable

from rnnserve.errors import Reason, Refusal
from rnnserve.v1 import rnnserve_pb2 as v1
from rnnserve.wire.answers import Answers
from rnnserve.wire.ends import both_ends
from rnnserve.wire.exchange_answers import ExchangeAnswers
from rnnserve.wire.guard import Context
from rnnserve.wire.methods import Oversized, well_formed
from rnnserve.wire.operations import MAX_FRAME_OPERATIONS, Operations
from rnnserve.wire.stream_answers import StreamAnswers
from rnnserve.wire.tracing import CallSpan

MAX_UNDER_WAY = 4096
"""Operations of one stream that were read and whose answers are not written yet."""
MAX_UNREAD_BYTES = 8 << 20
"""Answers of one stream that are ready and not written: beyond it nothing more is read."""

Frame = v1.OperationFrame | Oversized


class Streams:
    """The streams that are open now."""

    def __init__(self, operations: Operations, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` tells seconds."""
        self._operations = operations
        self._open: set[StreamAnswers] = set()
        self._drained_at_s: float | None = None
        """By when the open sessions have to end, once that is known."""
        self.heard = 0
        """Frames that were read."""
        self._cut: Refusal | None = None
        """What a stream that opens now is told."""
        self._now_s = clock

    def __len__(self) -> int:
        return len(self._open)

    async def serve(
        self, frames: AsyncIterator[Frame], context: Context, span: CallSpan | None = None
    ) -> None:
        """Read, apply and answer until the client has said all and has all its answers."""
        if self._cut is not None:
            raise self._cut.again()
        answers = StreamAnswers(MAX_UNDER_WAY, MAX_UNREAD_BYTES, span, self._operations.replies())
        self._open.add(answers)
        if self._drained_at_s is not None:
            answers.tell(self._draining(self._drained_at_s))
        reader = asyncio.create_task(self._read(frames, answers))
        writer = asyncio.create_task(_write(answers, context))
        try:
            await both_ends(reader, writer, answers)
        finally:
            self._open.discard(answers)

    async def exchange(
        self, frame: Frame, context: Context, span: CallSpan | None = None
    ) -> v1.EventFrame:
        """One frame in, one frame out with all its events, in the operations' order.

        The call's deadline holds for its steps too.
        """
        answers = ExchangeAnswers(_count(frame), span, self._operations.replies())
        left_s = context.time_remaining()
        await self._apply(frame, answers, math.inf if left_s is None else left_s)
        return await answers.complete()

    def drain(self, left_s: float) -> None:
        """Tell every stream, and those that open later, how long the open sessions have."""
        self._drained_at_s = self._now_s() + left_s
        for answers in self._open:
            answers.tell(self._draining(self._drained_at_s))

    def cut(self, refusal: Refusal) -> None:
        """End every stream, now and from now on: what is ready is still written."""
        self._cut = refusal
        for answers in self._open:
            answers.fail(refusal.again())

    def _draining(self, at_s: float) -> v1.Event:
        return v1.Event(draining=v1.Draining(left_s=max(0.0, at_s - self._now_s())))

    async def _read(self, frames: AsyncIterator[Frame], answers: StreamAnswers) -> None:
        try:
            async for frame in frames:
                self.heard += 1
                if answers.has_failed:
                    # Refusing what still comes would keep the stream for as long as it comes.
                    return
                if not answers.has_room:
                    await answers.room()
                if answers.is_abandoned:
                    return
                answers.promise(_count(frame))
                await self._apply(frame, answers, math.inf)
        except Refusal as refusal:
            # What was raised holds this frame, and all that was read, by its traceback.
            answers.fail(refusal.again())
        except Exception as error:
            answers.fail(error)
        answers.finish()

    async def _apply(self, frame: Frame, answers: Answers, timeout_s: float) -> None:
        if isinstance(frame, Oversized):
            self._operations.refuse_frame(frame.message, answers, frame.refusal())
            return
        await self._operations.apply_frame(frame, answers, timeout_s)


async def _write(answers: StreamAnswers, context: Context) -> None:
    """All answers, until the last or until nobody is there any more."""
    while ready := await answers.take():
        for frame in ready:
            if answers.is_abandoned:
                return
            await context.write(frame)


def _count(frame: Frame) -> int:
    """How many operations a frame has. Raises Refusal (malformed, frame_too_large)."""
    # The operations of one over the limit are refused one by one.
    message = frame.message if isinstance(frame, Oversized) else frame
    well_formed(message)
    count = len(message.operations)
    if count > MAX_FRAME_OPERATIONS:
        raise Refusal(
            Reason.FRAME_TOO_LARGE,
            f"a frame of {count} operations; at most {MAX_FRAME_OPERATIONS}",
            limit=MAX_FRAME_OPERATIONS,
        )
    return count
