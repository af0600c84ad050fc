"""ModelStreamInfer: many requests, of many sequences and models, answered in the order they came.

A request that is refused is answered like any other, in its place, and leaves the stream and the
others alive: `error_message` has the sentence, `infer_response` the request's id and, as parameters
that older clients overlook, our word for it and the status. Clients that ask for it (metadata
`triton_grpc_error: true`) get the first error as the call's status instead.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from functools import partial

from rnnserve.engine.meter import Meter
from rnnserve.errors import Refusal
from rnnserve.triton import grpc_service_pb2 as wire
from rnnserve.wire.ends import both_ends
from rnnserve.wire.guard import Context
from rnnserve.wire.inference.requests import Requests
from rnnserve.wire.inference.texts import code_of
from rnnserve.wire.methods import Oversized, well_formed
from rnnserve.wire.status import internal
from rnnserve.wire.tracing import CallSpan

MAX_UNDER_WAY = 1024
"""Requests of one stream that were read and whose replies are not written."""
MAX_UNREAD_BYTES = 8 << 20
"""Of one stream, the ids of requests under way and replies that are ready and not written: beyond
it nothing more is read."""

REASON, CODE = "rnnserve_reason", "rnnserve_code"

Received = wire.ModelInferRequest | Oversized
Outcome = wire.ModelInferResponse | Exception


class Place:
    """A request's place in the line of replies."""

    __slots__ = ("outcome", "ready_s", "request_id", "size_bytes")

    def __init__(self, request_id: str) -> None:
        self.request_id = request_id
        self.outcome: wire.ModelInferResponse | Refusal | None = None
        self.ready_s = 0.0
        """When the reply was there."""
        self.size_bytes = len(request_id)


class Line:
    """The replies of one stream, for one writer, first come first served.

    Bounded by count and by bytes: who reads requests waits for `room`. So a client that doesn't
    read its replies is not read from either.
    """

    def __init__(self, clock: Callable[[], float], span: CallSpan | None = None) -> None:
        """`clock` tells seconds."""
        self._now_s = clock
        self.span = span
        """Of the call, where it is traced."""
        self._places: deque[Place] = deque()
        self._held_bytes = 0
        self._over = False
        self._failure: Exception | None = None
        self.is_abandoned = False
        """Whether nobody reads any more: nothing is to be written."""
        self._moved = asyncio.Event()
        self._room = asyncio.Event()

    @property
    def has_failed(self) -> bool:
        """Whether the writer ends after what is ready."""
        return self._failure is not None

    async def room(self) -> None:
        """Wait until there is room for one more, or nobody wants their answers."""
        while len(self._places) >= MAX_UNDER_WAY or self._held_bytes >= MAX_UNREAD_BYTES:
            if self.is_abandoned:
                return
            self._room.clear()
            await self._room.wait()

    def queue(self, request_id: str) -> Place:
        """A place behind all others, to be filled."""
        place = Place(request_id)
        self._places.append(place)
        self._held_bytes += place.size_bytes
        return place

    def fill(self, place: Place, outcome: Outcome) -> None:
        """What became of a request; told once."""
        if isinstance(outcome, wire.ModelInferResponse):
            place.outcome, more_bytes = outcome, outcome.ByteSize()
            place.ready_s = self._now_s()
        else:
            # A new one: what was raised keeps the whole request, by its traceback.
            refusal = outcome.again() if isinstance(outcome, Refusal) else internal(outcome)
            if self.span is not None:
                self.span.refused(refusal)
            place.outcome, more_bytes = refusal, len(refusal.message)
        place.size_bytes += more_bytes
        self._held_bytes += more_bytes
        self._moved.set()

    def finish(self) -> None:
        """No more requests; the writer ends when all are answered."""
        self._over = True
        self._moved.set()

    def fail(self, failure: Exception) -> None:
        """The writer writes what is ready at the front and then raises `failure`."""
        if self._failure is None:
            self._failure = failure
            self._moved.set()

    def abandon(self) -> None:
        """Nobody reads any more: reader and writer stop, whatever is ready."""
        self.is_abandoned = True
        self._moved.set()
        self._room.set()

    async def take(self) -> Place | None:
        """The next place that is filled; what was taken before counts as written. None when all is
        over. Raises what `fail` was given."""
        while not self._places or self._places[0].outcome is None:
            if self.is_abandoned:
                return None
            if self._failure is not None:
                raise self._failure
            if self._over and not self._places:
                return None
            self._moved.clear()
            await self._moved.wait()
        place = self._places.popleft()
        self._held_bytes -= place.size_bytes
        self._room.set()
        return place


class InferenceStreams:
    """The streams that are open now."""

    def __init__(
        self, requests: Requests, meter: Meter, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`clock` tells seconds."""
        self._now_s = clock
        self._requests = requests
        self._meter = meter
        self._open: set[Line] = set()
        self.heard = 0
        """Requests that were read."""
        self._cut: Refusal | None = None
        """What a stream that opens now is told."""

    def __len__(self) -> int:
        return len(self._open)

    async def serve(
        self, requests: AsyncIterator[Received], context: Context, span: CallSpan | None = None
    ) -> None:
        """Read, take and answer until the client has said all and has all its replies.

        Raises Refusal where the client wants errors as a status.
        """
        if self._cut is not None:
            raise self._cut.again()
        line = Line(self._now_s, span)
        self._open.add(line)
        reader = asyncio.create_task(self._read(requests, line))
        writer = asyncio.create_task(self._write(line, context))
        try:
            await both_ends(reader, writer, line)
        finally:
            self._open.discard(line)

    def cut(self, refusal: Refusal) -> None:
        """End every stream, now and from now on: what is ready is still written."""
        self._cut = refusal
        for line in self._open:
            line.fail(refusal.again())

    async def _write(self, line: Line, context: Context) -> None:
        """All replies, until the last or until nobody is there any more."""
        wants_status = _wants_status(context)
        while (place := await line.take()) is not None and not line.is_abandoned:
            outcome = place.outcome
            assert outcome is not None
            if isinstance(outcome, Refusal):
                if wants_status:
                    raise outcome
                await context.write(self._error(outcome, place.request_id))
            else:
                outcome.parameters["triton_final_response"].bool_param = True
                await context.write(wire.ModelStreamInferResponse(infer_response=outcome))
                self._meter.replied(outcome.model_name, 1, self._now_s() - place.ready_s)

    async def _read(self, requests: AsyncIterator[Received], line: Line) -> None:
        try:
            async for request in requests:
                self.heard += 1
                if line.has_failed:
                    # Refusing what still comes would keep the stream for as long as it comes.
                    return
                await line.room()
                if line.is_abandoned:
                    return
                self._take(request, line)
        except Refusal as refusal:
            # What was raised holds this frame, and all that was read, by its traceback.
            line.fail(refusal.again())
        except Exception as error:
            line.fail(error)
        line.finish()

    def _take(self, request: Received, line: Line) -> None:
        """Raises Refusal (malformed) for what isn't a request: then it has no id either."""
        if isinstance(request, Oversized):
            line.fill(line.queue(request.message.id), request.refusal())
            return
        well_formed(request)
        place = line.queue(request.id)
        try:
            self._requests.take(request, partial(line.fill, place), span=line.span)
        except Exception as error:
            line.fill(place, error)

    def _error(self, refusal: Refusal, request_id: str) -> wire.ModelStreamInferResponse:
        self._meter.refused(refusal.reason)
        reply = wire.ModelStreamInferResponse(error_message=refusal.message)
        response = reply.infer_response
        response.id = request_id
        response.parameters["triton_final_response"].bool_param = True
        response.parameters[REASON].string_param = refusal.reason
        response.parameters[CODE].string_param = code_of(refusal.reason).name
        return reply


def _wants_status(context: Context) -> bool:
    metadata = context.invocation_metadata() or ()
    return any(key == "triton_grpc_error" and value == "true" for key, value in metadata)
