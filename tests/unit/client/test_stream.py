"""The shared stream against calls that are played by hand, for moments no server can be held in."""

import asyncio
from unittest.mock import AsyncMock, Mock

import grpc
import grpc.aio
import pytest
from google.rpc import error_details_pb2, status_pb2

from rnnserve.client import ServerError
from rnnserve.client.async_generation import AsyncGeneration, Continued
from rnnserve.client.drain import Drain
from rnnserve.client.progress import opening
from rnnserve.client.stream import OperationStream
from rnnserve.errors import Reason
from rnnserve.v1 import rnnserve_pb2 as pb


def unavailable(*trailing: tuple[str, bytes]) -> grpc.aio.AioRpcError:
    metadata = grpc.aio.Metadata(*trailing)
    return grpc.aio.AioRpcError(
        grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), metadata, details="gone"
    )


def draining() -> tuple[str, bytes]:
    """The trailing metadata of a server that is about to stop."""
    status = status_pb2.Status(code=14, message="the server is stopping")
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason=Reason.DRAINING))
    return "grpc-status-details-bin", status.SerializeToString()


class PlayedCall:
    """A call that takes `room` frames, answers nothing, and breaks off when told."""

    def __init__(self, room: int, *trailing: tuple[str, bytes]) -> None:
        self.written: list[pb.OperationFrame] = []
        self.full, self.broken = asyncio.Event(), asyncio.Event()
        self._room = room
        self.error = unavailable(*trailing)

    async def write(self, frame: pb.OperationFrame) -> None:
        self.written.append(frame)
        if len(self.written) == self._room:
            self.full.set()
            await asyncio.Event().wait()

    async def read(self) -> pb.EventFrame:
        await self.broken.wait()
        raise self.error

    def cancel(self) -> bool:
        return True


class ToldCall(PlayedCall):
    """A call on which the server says these, unasked, before it breaks off."""

    def __init__(self, *events: pb.Event) -> None:
        super().__init__(100)
        self._said = [pb.EventFrame(events=[event]) for event in events]

    async def read(self) -> pb.EventFrame:
        return self._said.pop(0) if self._said else await super().read()


class PlayedStub:
    def __init__(self, *calls: PlayedCall) -> None:
        self._calls = iter(calls)

    def Stream(self) -> PlayedCall:
        return next(self._calls)


class PlayedGenerate:
    """A generation from a fork that says one word, and no more."""

    def __init__(self) -> None:
        self._replies = iter([pb.GenerateReply(tokens=[1], fork_id="fork")])
        self.heard, self.cancelled = asyncio.Event(), False

    def Generate(self, request: pb.GenerateRequest) -> "PlayedGenerate":
        return self

    async def read(self) -> pb.GenerateReply:
        for reply in self._replies:
            return reply
        self.heard.set()
        await asyncio.Event().wait()

    def cancel(self) -> bool:
        self.cancelled = True
        return True


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


async def test_everyone_who_waits_on_a_broken_stream_raises_an_error_of_their_own():
    """Raised by all, one error would collect the frames of all."""
    call = PlayedCall(room=1)
    stream = OperationStream(PlayedStub(call))
    waiting = [stream.ask(opening("one", 0)) for _ in range(3)]
    await call.full.wait()
    call.broken.set()
    errors = await asyncio.gather(*waiting)
    assert len(set(map(id, errors))) == 3
    assert all(vars(error) == vars(errors[0]) for error in errors)
    assert {str(error) for error in errors} == {"transport: gone"}
    await stream.close()


async def test_so_does_everyone_who_hears_why_the_stream_before_broke():
    first, second = PlayedCall(1, draining()), PlayedCall(1)
    stream = OperationStream(PlayedStub(first, second))
    waiting = [stream.ask(pb.Operation(step=pb.Step(session_id="one"))) for _ in range(3)]
    first.broken.set()
    await second.full.wait()
    second.broken.set()
    errors = await asyncio.gather(*waiting)
    assert [error.reason for error in errors] == [Reason.DRAINING] * 3
    assert len(set(map(id, errors))) == 3
    await stream.close()


async def test_a_listener_that_is_cancelled_as_it_waits_for_the_end_gives_up_the_fork():
    played = PlayedGenerate()
    begin, ended, left = AsyncMock(), Mock(), Mock()
    left.side_effect = lambda _: played.cancelled or pytest.fail("closed before it was left")
    generation = AsyncGeneration(played, pb.GenerateRequest(), Continued(begin, ended, left))

    async def listen() -> None:
        async for _ in generation:
            pass

    listening = asyncio.create_task(listen())
    await played.heard.wait()
    listening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await listening
    left.assert_called_once_with("fork")
    ended.assert_not_called()


async def test_the_servers_last_word_outlives_the_silence_after_it():
    first, second = PlayedCall(1, draining()), PlayedCall(1)
    stream = OperationStream(PlayedStub(first, second))
    outcome = stream.ask(pb.Operation(step=pb.Step(session_id="one")))
    first.broken.set()
    await second.full.wait()
    second.broken.set()
    found = await outcome
    assert isinstance(found, ServerError)
    assert found.reason == Reason.DRAINING
    await stream.close()


DRAINING = pb.Event(draining=pb.Draining(left_s=7))
# Field 14 is reserved for what a later server may say.
UNKNOWN = pb.Event.FromString(b"\x72\x02\x08\x01")


async def test_a_server_that_drains_is_heard_and_forgotten_with_its_stream():
    first, second = ToldCall(UNKNOWN, DRAINING), PlayedCall(1)
    stream = OperationStream(PlayedStub(first, second))
    assert stream.drain.left_s is None
    answer = stream.ask(pb.Operation(export=pb.Export(session_id="one")))
    await stream.drain.begun()
    assert 6 < stream.drain.left_s <= 7
    # What the server says unasked answers nothing.
    assert not answer.done()
    first.broken.set()
    await second.full.wait()
    assert stream.drain.left_s is None
    assert second.written[0].operations[0].WhichOneof("kind") == "export"
    await stream.close()


async def test_the_time_that_is_left_runs_out_and_is_never_less_than_none():
    told_s, *asked_s = 10.0, 10.0, 11.5, 13.0
    drain = Drain(iter([told_s, *asked_s]).__next__)
    drain.told(2.0)
    assert [drain.left_s for _ in asked_s] == [2.0, 0.5, 0.0]


async def test_a_stream_that_ends_under_a_write_is_like_one_that_broke():
    first, second = PlayedCall(1), PlayedCall(1)
    first.error = grpc.aio.AioRpcError(
        grpc.StatusCode.INTERNAL,
        grpc.aio.Metadata(),
        grpc.aio.Metadata(),
        details="Internal error from Core",
    )
    stream = OperationStream(PlayedStub(first, second))
    stream.ask(pb.Operation(export=pb.Export(session_id="one")))
    await first.full.wait()
    first.broken.set()
    await second.full.wait()
    assert second.written[0].operations[0].WhichOneof("kind") == "export"
    await stream.close()
