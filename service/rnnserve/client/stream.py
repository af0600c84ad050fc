"""The one bidirectional stream that all sessions of an AsyncClient share."""

import asyncio
import itertools
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import grpc
import grpc.aio

from rnnserve.client.channel import broke_off, may_go_twice, telling
from rnnserve.client.drain import Drain
from rnnserve.client.errors import TRANSPORT, ServerError, from_rpc_error
from rnnserve.client.facts import Limits
from rnnserve.client.frames import UNTOLD_FRAME_BYTES, UNTOLD_FRAME_OPERATIONS, take_frame
from rnnserve.client.outcome import Outcome, Outcomes, outcome_of
from rnnserve.v1 import rnnserve_pb2 as pb
from rnnserve.v1 import rnnserve_pb2_grpc as rpc

CORE_ERROR = "Internal error from Core"

Message = TypeVar("Message")
Call = grpc.aio.StreamStreamCall[pb.OperationFrame, pb.EventFrame]


@dataclass(slots=True)
class Asked:
    """An operation that has no answer yet."""

    operation: pb.Operation
    outcome: Outcomes
    settled: Callable[[Outcome], None]
    broken: ServerError | None = None
    """Why the stream before this one ended."""

    def settle(self, outcome: Outcome) -> None:
        if self.broken and isinstance(outcome, ServerError):
            outcome = telling(self.broken, outcome)
        self.settled(outcome)
        if not self.outcome.done():
            self.outcome.set_result(outcome)

    def may_go_again(self, written: bool) -> bool:
        """After a break: once, and only what the server can't do twice."""
        return self.broken is None and (not written or may_go_twice(self.operation))


class OperationStream:
    """Carries operations to the server and finds each one's outcome.

    Operations that wait at the same moment share a frame. A stream is opened when there is
    something to carry, and again after it broke; every outcome is set on every path.
    """

    def __init__(self, stub: "rpc.RnnServeAsyncStub") -> None:
        self.limits: Limits | None = None
        """What the server has said of its frames."""
        self.drain = Drain()
        self._stub = stub
        self._ids = itertools.count(1)
        self._written = 0
        """The last id that was written: they go in their order, on every stream."""
        self._asked: dict[int, Asked] = {}
        self._waiting: deque[pb.Operation] = deque()
        self._wake = asyncio.Event()
        self._carrying: asyncio.Task[None] | None = None
        self._closed = False

    def ask(
        self, operation: pb.Operation, settled: Callable[[Outcome], None] = lambda _: None
    ) -> Outcomes:
        """Sends the operation after all that were asked before it; gives it its id.

        `settled` is called with the outcome before anybody can see it, and also when nobody does.
        """
        operation.id = next(self._ids)
        asked = Asked(operation, asyncio.get_running_loop().create_future(), settled)
        if self._closed:
            asked.settle(_closed())
            return asked.outcome
        self._asked[operation.id] = asked
        self._waiting.append(operation)
        self._wake.set()
        if self._carrying is None or self._carrying.done():
            self._carrying = asyncio.create_task(self._carry(), name="rnnserve stream")
        return asked.outcome

    async def close(self) -> None:
        """Ends the stream; what has no answer yet fails."""
        self._closed = True
        if self._carrying is not None:
            self._carrying.cancel()
            await asyncio.gather(self._carrying, return_exceptions=True)
        self._fail(list(self._asked.values()), _closed())

    async def _carry(self) -> None:
        """One stream after the other, until one ends with nothing left to do."""
        try:
            while self._asked:
                self._after(await self._one_stream())
        finally:
            self._fail(list(self._asked.values()), _closed())

    async def _one_stream(self) -> ServerError:
        """Carries until the stream ends, and says why it did."""
        call: Call = self._stub.Stream()
        tasks = {asyncio.create_task(self._read(call)), asyncio.create_task(self._write(call))}
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            for task in tasks:
                task.cancel()
            ends = await asyncio.gather(*tasks, return_exceptions=True)
            call.cancel()
            # The next one may lead to another server, or to one that was started again.
            self.drain.forget()
        errors = [end for end in ends if isinstance(end, Exception)]
        known = [_told(error) for error in errors if isinstance(error, ServerError)]
        return (known or [ServerError(TRANSPORT, f"the stream failed: {errors!r}")])[0]

    async def _read(self, call: Call) -> None:
        while (frame := await read(call)) is not None:
            for event in frame.events:
                if asked := self._asked.pop(event.id, None):
                    asked.settle(outcome_of(event))
                elif event.HasField("draining"):
                    self.drain.told(event.draining.left_s)
        # A server may give its streams an age: what was under way goes on with the next one.
        raise ServerError(
            TRANSPORT, "the server ended the stream", code=grpc.StatusCode.UNAVAILABLE
        )

    async def _write(self, call: Call) -> None:
        while True:
            while self._waiting:
                frame = self._next_frame()
                self._written = max(self._written, frame.operations[-1].id)
                try:
                    await call.write(frame)
                except (grpc.RpcError, asyncio.InvalidStateError):
                    return  # the reader knows why
            self._wake.clear()
            await self._wake.wait()

    def _next_frame(self) -> pb.OperationFrame:
        max_bytes = max_operations = 0
        if self.limits is not None:
            max_bytes = self.limits.max_frame_bytes
            max_operations = self.limits.max_frame_operations
        return take_frame(
            self._waiting,
            max_bytes or UNTOLD_FRAME_BYTES,
            max_operations or UNTOLD_FRAME_OPERATIONS,
        )

    def _after(self, error: ServerError) -> None:
        """Puts back what may go again, in its order, and fails the rest."""
        again: list[Asked] = []
        lost: list[Asked] = []
        for asked in self._asked.values():
            may = broke_off(error) and asked.may_go_again(asked.operation.id <= self._written)
            (again if may else lost).append(asked)
        self._fail(lost, error)
        for asked in again:
            asked.broken = error.copy()
        self._waiting = deque(asked.operation for asked in again)

    def _fail(self, asked: list[Asked], error: ServerError) -> None:
        for one in asked:
            del self._asked[one.operation.id]
            one.settle(error.copy())


async def read(
    call: grpc.aio.StreamStreamCall[Any, Message] | grpc.aio.UnaryStreamCall[Any, Message],
) -> Message | None:
    """The call's next message, or None at its end; raises ServerError."""
    try:
        message = await call.read()
    except grpc.RpcError as error:
        raise from_rpc_error(error) from None
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        # grpc.aio says so too when the call, not the task, was cancelled.
        raise _closed() from None
    return None if message is grpc.aio.EOF else cast(Message, message)


def _told(error: ServerError) -> ServerError:
    """How the stream ended. One that ends while it is written to ends in grpc.aio's own words, and
    what the server said is lost: it has gone like one whose connection broke."""
    if error.reason != TRANSPORT or error.message != CORE_ERROR:
        return error
    return ServerError(
        TRANSPORT, "the stream ended under a write", code=grpc.StatusCode.UNAVAILABLE
    )


def _closed() -> ServerError:
    return ServerError(TRANSPORT, "the client was closed", code=grpc.StatusCode.CANCELLED)
