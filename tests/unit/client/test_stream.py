"""The shared stream against calls that are played by hand, for moments no server can be held in."""

import asyncio

import grpc
import grpc.aio
from google.rpc import error_details_pb2, status_pb2

from rnnserve.client import ServerError
from rnnserve.client.progress import opening
from rnnserve.client.stream import OperationStream
from rnnserve.errors import Reason
from rnnserve.v1 import rnnserve_pb2 as pb


def unavailable(*trailing: tuple[str, bytes]) -> grpc.aio.AioRpcError:
    metadata = grpc.aio.Metadata(*trailing)
    return grpc.aio.AioRpcError(
        grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), metadata, details="gone"
    )


class PlayedCall:
    """A call that takes `room` frames, answers nothing, and breaks off when told."""

    def __init__(self, room: int, *trailing: tuple[str, bytes]) -> None:
        self.written: list[pb.OperationFrame] = []
        self.full, self.broken = asyncio.Event(), asyncio.Event()
        self._room = room
        self._error = unavailable(*trailing)

    async def write(self, frame: pb.OperationFrame) -> None:
        self.written.append(frame)
        if len(self.written) == self._room:
            self.full.set()
            await asyncio.Event().wait()

    async def read(self) -> pb.EventFrame:
        await self.broken.wait()
        raise self._error

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


async def test_the_servers_last_word_outlives_the_silence_after_it():
    status = status_pb2.Status(code=14, message="the server is stopping")
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason=Reason.DRAINING))
    last_word = ("grpc-status-details-bin", status.SerializeToString())
    first, second = PlayedCall(1, last_word), PlayedCall(1)
    stream = OperationStream(PlayedStub(first, second))
    outcome = stream.ask(pb.Operation(step=pb.Step(session_id="one")))
    first.broken.set()
    await second.full.wait()
    second.broken.set()
    found = await outcome
    assert isinstance(found, ServerError)
    assert found.reason == Reason.DRAINING
    await stream.close()
