"""The protocol as gRPC carries it: statuses, their details, and bytes that are no message."""

import asyncio
from collections.abc import AsyncIterator

import grpc
import numpy as np
import pytest
from google.rpc import error_details_pb2, status_pb2

import tiny_models as tiny
from rnnserve.errors import Reason
from rnnserve.triton import grpc_service_pb2 as wire
from rnnserve.triton.grpc_service_pb2_grpc import GRPCInferenceServiceStub
from rnnserve.wire.inference.calls import Inference
from rnnserve.wire.inference.servicer import InferenceServicer
from rnnserve.wire.methods import INFERENCE, register
from rnnserve.wire.status import DETAILS_KEY
from synchronous_engine import Notes, SynchronousEngine
from unit.service.inference_calls import FakeRepository, goes_on, start

LIMIT_BYTES = 4096
ROOM_BYTES = 1 << 20
METHODS = [method.name for method in INFERENCE.methods]
NOT_OFFERED = [name for name in METHODS if "SharedMemory" in name or name.endswith("Settings")]
NOT_OFFERED.append("TraceSetting")


class Refused(Notes):
    """Writes down the reasons of refusals too."""

    def __init__(self) -> None:
        super().__init__()
        self.reasons: list[Reason] = []

    def refused(self, reason: Reason) -> None:
        self.reasons.append(reason)


class Serving:
    """One model behind a port, whose engine runs whenever the loop turns."""

    def __init__(self) -> None:
        self.engine = SynchronousEngine(tiny.accumulator())
        self.runs = True
        self.meter = Refused()
        inference = Inference(self.engine.engine, FakeRepository(), lambda: True)
        self.inference = inference
        self.servicer = InferenceServicer(inference, self.meter)
        options = [("grpc.max_receive_message_length", LIMIT_BYTES + ROOM_BYTES)]
        self._server = grpc.aio.server(options=options)
        register(INFERENCE, self.servicer, self._server, LIMIT_BYTES)
        self._port = self._server.add_insecure_port("127.0.0.1:0")

    async def __aenter__(self) -> "Serving":
        await self._server.start()
        self._ticking = asyncio.create_task(self._tick())
        self.channel = grpc.aio.insecure_channel(f"127.0.0.1:{self._port}")
        self.stub = GRPCInferenceServiceStub(self.channel)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.channel.close()
        await self._server.stop(None)
        self._ticking.cancel()
        await asyncio.gather(self._ticking, return_exceptions=True)

    async def raw(self, method: str, data: bytes) -> bytes:
        """Call a method that has one message in and one out, with these bytes."""
        path = f"/{INFERENCE.full_name}/{method}"
        if method == "ModelStreamInfer":
            (reply,) = [reply async for reply in self.channel.stream_stream(path)(iter([data]))]
            return reply
        return await self.channel.unary_unary(path)(data)

    async def _tick(self) -> None:
        while True:
            if self.runs:
                self.engine.run_all()
            await asyncio.sleep(0)


@pytest.fixture
async def serving() -> AsyncIterator[Serving]:
    async with Serving() as serving:
        yield serving


def x(value: float) -> dict[str, np.ndarray]:
    return {"x": np.array([[value]], np.float32)}


def details(error: grpc.aio.AioRpcError) -> tuple[status_pb2.Status, error_details_pb2.ErrorInfo]:
    """What goes with a status, for programs."""
    found = dict(error.trailing_metadata())[DETAILS_KEY]
    status = status_pb2.Status.FromString(found)
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    return status, info


async def test_a_request_is_answered(serving):
    for asked, total in ((start, 2), (goes_on, 4)):
        reply = await serving.stub.ModelInfer(asked("sum_fp32", x(2.0), id="a"))
        assert np.frombuffer(reply.raw_output_contents[0], np.float32).item() == total
        assert reply.id == "a"


async def test_a_refusal_has_tritons_code_and_words_and_ours_beside_them(serving):
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await serving.stub.ModelInfer(goes_on("sum_fp32", x(1.0), 5))
    assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    text = error.value.details()
    assert text == (
        "inference request for sequence 5 to model 'sum_fp32' must specify the START flag on the "
        "first request of the sequence; it has not started here"
    )
    status, info = details(error.value)
    assert (status.code, status.message) == (3, text)
    assert (info.reason, info.domain) == ("sequence_not_started", "rnnserve")
    assert serving.meter.reasons == [Reason.SEQUENCE_NOT_STARTED]


async def test_a_refusal_for_load_is_unavailable_in_its_details_too(serving):
    serving.engine.engine.drain()
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await serving.stub.ModelInfer(start("sum_fp32", x(1.0)))
    assert error.value.code() is grpc.StatusCode.UNAVAILABLE
    status, info = details(error.value)
    assert (status.code, info.reason) == (14, "draining")


@pytest.mark.parametrize("method", METHODS)
async def test_bytes_that_are_no_message_get_a_proper_status(serving, method):
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await serving.raw(method, b"\xff\xff\xff")
    if method in NOT_OFFERED:
        assert error.value.code() is grpc.StatusCode.UNIMPLEMENTED
        assert serving.meter.reasons == [Reason.NOT_OFFERED]
    else:
        assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert serving.meter.reasons == [Reason.MALFORMED]


@pytest.mark.parametrize("method", [name for name in METHODS if name not in NOT_OFFERED])
async def test_a_message_over_the_limit_gets_a_proper_status(serving, method):
    # Field 2000 is in no message: bytes that mean nothing, and have a size.
    data = b"\x82\x7d\x80\x28" + bytes(5120)
    if method == "ModelStreamInfer":
        reply = wire.ModelStreamInferResponse.FromString(await serving.raw(method, data))
        text = reply.error_message
    else:
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await serving.raw(method, data)
        assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        text = error.value.details()
    assert text == f"a message of {len(data)} bytes; at most {LIMIT_BYTES}"
    assert serving.meter.reasons == [Reason.FRAME_TOO_LARGE]


@pytest.mark.parametrize("method", NOT_OFFERED)
async def test_what_is_not_offered_says_so_in_a_sentence(serving, method):
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await serving.raw(method, b"")
    assert error.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert "not offered here" in error.value.details()


async def test_a_bug_shows_an_id_for_the_log_and_nothing_of_its_inside(
    serving, monkeypatch, caplog
):
    def broken(*_: object) -> None:
        raise RuntimeError("/secret/path")

    monkeypatch.setattr(serving.inference.requests, "take", broken)
    monkeypatch.setattr(serving.inference, "model_metadata", broken)
    for call in (
        lambda: serving.stub.ModelInfer(start("sum_fp32", x(1.0))),
        lambda: serving.stub.ModelMetadata(wire.ModelMetadataRequest(name="sum_fp32")),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await call()
        assert error.value.code() is grpc.StatusCode.INTERNAL
        assert "secret" not in str(error.value.trailing_metadata()) + error.value.details()
        log_id = details(error.value)[1].metadata["log_id"]
        assert log_id in caplog.text
    stream = serving.stub.ModelStreamInfer(iter([start("sum_fp32", x(1.0), id="a")]))
    (reply,) = [reply async for reply in stream]
    assert reply.error_message.startswith("the server failed; log id")
    assert reply.infer_response.parameters["rnnserve_reason"].string_param == "internal"
    assert "secret" not in str(reply)


async def test_a_stream_half_closed_has_all_its_replies_and_ends_well(serving):
    asked = [start("sum_fp32", x(1.0)), *[goes_on("sum_fp32", x(1.0))] * 50]
    stream = serving.stub.ModelStreamInfer(iter(asked))
    totals = [
        np.frombuffer(reply.infer_response.raw_output_contents[0], np.float32).item()
        async for reply in stream
    ]
    assert totals == list(range(1, 52))
    assert await stream.code() is grpc.StatusCode.OK


async def test_a_stream_that_wants_statuses_ends_with_its_first_error(serving):
    asked = [start("sum_fp32", x(1.0)), goes_on("sum_fp32", x(1.0), 9), start("sum_fp32", x(1.0))]
    stream = serving.stub.ModelStreamInfer(iter(asked), metadata=[("triton_grpc_error", "true")])
    assert (await stream.read()).error_message == ""
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await stream.read()
    assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert details(error.value)[1].reason == "sequence_not_started"
    assert serving.meter.reasons == [Reason.SEQUENCE_NOT_STARTED]


async def test_a_cut_ends_open_streams_with_tritons_words(serving):
    stream = serving.stub.ModelStreamInfer()
    await stream.write(start("sum_fp32", x(1.0)))
    await stream.read()
    serving.servicer.cut()
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await stream.read()
    assert error.value.code() is grpc.StatusCode.UNAVAILABLE
    assert error.value.details() == (
        "GRPC server is shutting down and has stopped accepting new requests."
    )


async def test_a_step_that_was_taken_is_run_though_its_caller_is_gone(serving):
    await serving.stub.ModelInfer(start("sum_fp32", x(1.0)))
    serving.runs = False
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await serving.stub.ModelInfer(goes_on("sum_fp32", x(1.0)), timeout=0.1)
    assert error.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    serving.runs = True
    reply = await serving.stub.ModelInfer(goes_on("sum_fp32", x(1.0)))
    assert np.frombuffer(reply.raw_output_contents[0], np.float32).item() == 3
    assert serving.engine.audit() == []
