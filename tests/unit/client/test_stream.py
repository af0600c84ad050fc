"""The shared stream against calls that are played by hand, for moments no server can be held in."""

import asyncio

import grpc
import grpc.aio

from rnnserve.client import ServerError
from rnnserve.client.progress import opening
from rnnserve.client.stream import OperationStream
from rnnserve.v1 import rnnserve_pb2 as pb

UNAVAILABLE = grpc.aio.AioRpcError(
    grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), grpc.aio.Metadata(), details="gone"
)


class PlayedCall:
    """A call that takes `room` frames, answers nothing, and breaks off when told."""

    def __init__(self, room: int) -> None:
        self.written: list[pb.OperationFrame] = []
        self.full, self.broken = asyncio.Event(), asyncio.Event()
        self._room = room

    async def write(self, frame: pb.OperationFrame) -> None:
        self.written.append(frame)
        if len(self.written) == self._room:
            self.full.set()
            await asyncio.Event().wait()

    async def read(self) -> pb.EventFrame:
        await self.broken.wait()
        raise UNAVAILABLE

    def cancel(self) -> bool:
        return True


class PlayedStub:
    def __init__(self, *calls: PlayedCall) -> None:
        self._calls = iter(calls)

    def Stream(self) -> PlayedCall:
        return next(self._calls)


async def test_what_was_never_written_goes_with_the_next_stream_whatever_it_is():
    first, second = PlayedCall(room=1), PlayedCall(room=1)
    stream = OperationStream(PlayedStub(first, second))
    written = stream.ask(opening("one", 0))
    await first.full.wait()
    waiting = stream.ask(opening("other", 0))
    first.broken.set()
    assert isinstance(await written, ServerError)
    await second.full.wait()
    assert [one.open.model for one in second.written[0].operations] == ["other"]
    assert not waiting.done()
    await stream.close()
    assert isinstance(waiting.result(), ServerError)


async def test_a_stream_that_never_comes_to_pass_fails_what_waits_in_the_end():
    calls = [PlayedCall(room=1) for _ in range(2)]
    for call in calls:
        call.broken.set()
    stream = OperationStream(PlayedStub(*calls))
    outcome = await stream.ask(opening("one", 0))
    assert isinstance(outcome, ServerError)
    assert outcome.code is grpc.StatusCode.UNAVAILABLE
    await stream.close()
