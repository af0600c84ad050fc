"""ModelStreamInfer: replies in the order of the requests, bounded, and gone with their client."""

import asyncio
import sys
from collections.abc import AsyncIterator

import numpy as np
import pytest

from plain_models import POISON, marked_model
from rnnserve.errors import Reason, Refusal
from rnnserve.triton import grpc_service_pb2 as wire
from rnnserve.wire.inference.stream import MAX_UNDER_WAY, MAX_UNREAD_BYTES, InferenceStreams
from rnnserve.wire.methods import Malformed, Oversized
from synchronous_engine import Notes
from unit.service.calls import Client, tasks, turn, vanish
from unit.service.inference_calls import Calls, goes_on, output, start


class Caller(Client):
    """A client with metadata of its own."""

    def __init__(self, **metadata: str) -> None:
        super().__init__()
        self._metadata = tuple(metadata.items())

    def invocation_metadata(self):
        return self._metadata

    def replies(self) -> list[wire.ModelInferResponse | str]:
        """What was read: replies, or the sentences of errors."""
        return [reply.error_message or reply.infer_response for reply in self.read]


class Requests:
    """What a client sends; it goes on until `finish`."""

    def __init__(self) -> None:
        self.taken = 0
        self._queue: asyncio.Queue = asyncio.Queue()

    def send(self, *requests: wire.ModelInferRequest) -> None:
        for request in requests:
            self._queue.put_nowait(request)

    def finish(self) -> None:
        self._queue.put_nowait(None)

    async def __aiter__(self) -> AsyncIterator[wire.ModelInferRequest]:
        while (request := await self._queue.get()) is not None:
            self.taken += 1
            yield request


class Stream:
    """One stream over an engine that is ticked by hand."""

    def __init__(self, **metadata: str) -> None:
        self.calls = Calls(marked_model())
        self.client, self.requests = Caller(**metadata), Requests()
        self.notes = Notes()
        self.now_s = 0.0
        self.streams = InferenceStreams(self.calls.requests, self.notes, lambda: self.now_s)
        self.task = asyncio.create_task(self.streams.serve(aiter(self.requests), self.client))

    async def run(self) -> None:
        await turn()
        self.calls.engine.run_all()
        await turn()


def x(value: float) -> dict[str, np.ndarray]:
    return {"x": np.array([[value]], np.float32)}


async def test_replies_come_in_the_order_of_the_requests_whatever_is_ready_first():
    stream = Stream()
    stream.requests.send(
        start("marked", x(1.0), 1, id="a"),
        goes_on("marked", x(1.0), 9, id="b"),
        start("marked", x(2.0), 2, id="c"),
        goes_on("marked", x(3.0), 1, id="d", sequence_end=True),
    )
    stream.requests.finish()
    await turn()
    assert stream.client.read == []
    await stream.run()
    await stream.task
    a, b, c, d = stream.client.replies()
    assert [output(reply)[0, 0] for reply in (a, c, d)] == [1, 2, 4]
    assert [reply.infer_response.id for reply in stream.client.read] == ["a", "b", "c", "d"]
    assert "must specify the START flag" in b
    refused = stream.client.read[1].infer_response.parameters
    assert refused["rnnserve_reason"].string_param == "sequence_not_started"
    assert refused["rnnserve_code"].string_param == "INVALID_ARGUMENT"
    assert all(
        reply.infer_response.parameters["triton_final_response"].bool_param
        for reply in stream.client.read
    )
    assert tasks() == set()


async def test_a_failing_step_is_told_and_leaves_stream_and_sequence_alive():
    stream = Stream()
    stream.requests.send(start("marked", x(1.0)), goes_on("marked", x(POISON)))
    stream.requests.send(goes_on("marked", x(2.0)))
    await stream.run()
    first, failed, last = stream.client.replies()
    assert (output(first)[0, 0], output(last)[0, 0]) == (1, 3)
    assert "the model failed" in failed
    assert "poison" not in failed
    stream.requests.finish()
    await stream.task


async def test_a_reply_that_waits_for_its_reader_is_late_and_one_that_failed_is_none():
    stream = Stream()
    stream.client.reads.clear()
    stream.requests.send(
        start("marked", x(1.0)), goes_on("marked", x(POISON)), goes_on("marked", x(2.0))
    )
    await stream.run()
    stream.now_s = 3.0
    stream.client.reads.set()
    stream.requests.finish()
    await stream.task
    assert stream.notes.replies == [("marked", 1, 3.0)] * 2


async def test_who_asks_for_a_status_gets_the_first_error_as_one():
    stream = Stream(triton_grpc_error="true")
    stream.requests.send(start("marked", x(1.0)), goes_on("marked", x(1.0), 9))
    await stream.run()
    with pytest.raises(Refusal) as error:
        await stream.task
    assert error.value.reason is Reason.SEQUENCE_NOT_STARTED
    assert len(stream.client.read) == 1
    assert tasks() == set()


async def test_a_client_that_does_not_read_is_not_read_from():
    stream = Stream()
    stream.client.reads.clear()
    stream.requests.send(start("marked", x(0.0)))
    stream.requests.send(*[goes_on("marked", x(1.0))] * (2 * MAX_UNDER_WAY))
    for _ in range(4 * MAX_UNDER_WAY):
        await asyncio.sleep(0)
    assert stream.requests.taken <= MAX_UNDER_WAY + 2
    stream.client.reads.set()
    stream.requests.finish()
    while not stream.task.done():
        await stream.run()
    replies = stream.client.replies()
    assert len(replies) == 2 * MAX_UNDER_WAY + 1
    assert [output(reply)[0, 0] for reply in replies] == list(range(len(replies)))
    assert stream.calls.engine.audit() == []


@pytest.mark.parametrize("number", [7, 9])
async def test_what_a_client_does_not_read_is_bounded_by_the_size_of_its_ids_too(number):
    stream = Stream()
    stream.client.reads.clear()
    stream.requests.send(start("marked", x(1.0)))
    request_id = "i" * (MAX_UNREAD_BYTES // 8)
    stream.requests.send(*[goes_on("marked", x(1.0), number, id=request_id)] * 20)
    await stream.run()
    assert stream.requests.taken < 12
    stream.client.reads.set()
    stream.requests.finish()
    while not stream.task.done():
        await stream.run()
    assert len(stream.client.read) == 21
    assert {reply.infer_response.id for reply in stream.client.read[1:]} == {request_id}


async def test_a_refusal_that_waits_to_be_read_keeps_nothing_of_its_request():
    stream = Stream()
    stream.client.reads.clear()
    unread = [goes_on("marked", x(1.0), 9), start("marked", x(1.0)), goes_on("marked", x(POISON))]
    held = [sys.getrefcount(request) for request in unread]
    # The reader keeps the last that it was given.
    stream.requests.send(*unread, goes_on("marked", x(1.0)))
    await stream.run()
    assert [sys.getrefcount(request) for request in unread] == held
    await vanish(stream.task)


async def test_a_request_over_the_limit_is_refused_in_its_place():
    stream = Stream()
    large = Oversized(goes_on("marked", x(1.0), id="large"), 5000, 4096)
    stream.requests.send(start("marked", x(1.0)), large, goes_on("marked", x(2.0)))
    stream.requests.finish()
    await stream.run()
    await stream.task
    first, refused, last = stream.client.replies()
    assert (output(first)[0, 0], output(last)[0, 0]) == (1, 3)
    assert refused == "a message of 5000 bytes; at most 4096"
    assert stream.client.read[1].infer_response.id == "large"


async def test_a_client_that_vanishes_leaves_its_sequence_and_no_task():
    stream = Stream()
    stream.requests.send(start("marked", x(1.0)))
    await turn()
    await vanish(stream.task)
    assert tasks() == set()
    stream.calls.engine.run_all()
    assert output(stream.calls.ask(goes_on("marked", x(1.0))))[0, 0] == 2
    assert stream.calls.engine.audit() == []


async def test_a_cut_stream_writes_what_is_ready_first():
    stream = Stream()
    stream.requests.send(start("marked", x(1.0)))
    await stream.run()
    stream.requests.send(goes_on("marked", x(1.0)))
    await turn()
    stream.streams.cut(Refusal(Reason.DRAINING, "the server is stopping"))
    with pytest.raises(Refusal, match="stopping"):
        await stream.task
    assert len(stream.client.read) == 1
    assert tasks() == set()


async def test_bytes_that_are_no_request_end_the_stream_with_a_reason():
    stream = Stream()
    stream.requests.send(Malformed())
    with pytest.raises(Refusal) as error:
        await stream.task
    assert error.value.reason is Reason.MALFORMED
    assert tasks() == set()
