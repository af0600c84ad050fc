"""Spans of a real server process, as a collector gets them."""

import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import grpc
import numpy as np
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from collector import Collector, attributes
from raw_session import RawStream, numbered, open_session, step
from rnnserve.triton.grpc_service_pb2_grpc import GRPCInferenceServiceStub
from rnnserve.v1 import rnnserve_pb2 as v1
from rnnserve.v1 import rnnserve_pb2_grpc
from server_process import ServerProcess
from small_models import publish, small_model
from unit.service.inference_calls import start

STREAM = "rnnserve.v1.RnnServe/Stream"
INFER = "inference.GRPCInferenceService/ModelInfer"
STOP_WITHIN_S = 5.0
WITHOUT_OPENTELEMETRY = """
import sys
sys.modules["opentelemetry"] = None
from rnnserve.cli import main
main()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("traced")
    publish(small_model("gru", 1), folder)
    return folder


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with Collector() as collector:
        yield collector


@pytest.fixture(scope="module")
def server(folder, collector) -> Iterator[ServerProcess]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
        environment.setenv("OTEL_RESOURCE_ATTRIBUTES", "k8s.pod.name=pod-3")
        tracing = ("--trace-endpoint", collector.endpoint, "--trace-share", "1.0")
        with ServerProcess(folder, *tracing, "--grace-s", "0") as process:
            yield process
            assert process.stop() == 0, "".join(process.log)
            assert "Traceback" not in "".join(process.log)


@pytest.fixture(scope="module")
def channel(server) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(server.target) as channel:
        yield channel


class Caller:
    """A caller with a trace of its own."""

    def __init__(self, channel: grpc.Channel, *, sampled: bool = True) -> None:
        self.trace_id, self.span_id = secrets.token_bytes(16), secrets.token_bytes(8)
        self._stub = rnnserve_pb2_grpc.RnnServeStub(channel)
        parent = f"00-{self.trace_id.hex()}-{self.span_id.hex()}-{sampled:02x}"
        self.metadata = (("traceparent", parent), ("tracestate", "shop=till4"))

    def stream(self) -> tuple[str, int, int]:
        """A stream with two steps; its session's id, and from when to when the call took."""
        session = open_session(self._stub, "gru1")
        began_ns = time.time_ns()
        stub = SimpleNamespace(Stream=partial(self._stub.Stream, metadata=self.metadata))
        stream = RawStream(stub)
        stream.send(numbered(step(session, 0, [1, 2]), 1), numbered(step(session, 2, [3]), 2))
        stream.events(2)
        stream.finish()
        assert list(stream.call) == []
        return session, began_ns, time.time_ns()


def named(spans: list[Span], name: str) -> list[Span]:
    return [span for span in spans if span.name == name]


def ended(name: str, spans: list[Span]) -> bool:
    """Whether the span of that call is among them: the last to come."""
    return bool(named(spans, name))


def inside(inner: Span, outer: Span) -> bool:
    begins = outer.start_time_unix_nano <= inner.start_time_unix_nano
    return begins and inner.end_time_unix_nano <= outer.end_time_unix_nano


def test_a_stream_and_its_steps_belong_to_the_callers_trace(collector, channel):
    caller = Caller(channel)
    session, began_ns, ended_ns = caller.stream()
    spans = collector.trace(caller.trace_id, partial(ended, STREAM))
    (stream,) = named(spans, STREAM)
    assert stream.parent_span_id == caller.span_id
    assert stream.trace_state == "shop=till4"
    assert stream.kind == Span.SPAN_KIND_SERVER
    assert attributes(stream.attributes) == {
        "rpc.system.name": "grpc",
        "rpc.method": STREAM,
        "rpc.response.status_code": "OK",
        "rnnserve.chunks": 2,
    }
    # The server's span may end a moment after its caller has the answer.
    assert began_ns <= stream.start_time_unix_nano <= ended_ns
    steps = named(spans, "step")
    assert [attributes(found.attributes)["rnnserve.steps"] for found in steps] == [2, 1]
    for found in steps:
        assert found.parent_span_id == stream.span_id
        assert inside(found, stream)
        assert attributes(found.attributes)["rnnserve.session"] == session[:6]
        parts = [span for span in spans if span.parent_span_id == found.span_id]
        assert sorted(part.name for part in parts) == ["queue", "run"]
        assert all(inside(part, found) for part in parts)
    assert len(spans) == 7


def test_a_stream_of_an_unsampled_trace_leaves_nothing(collector, channel):
    unsampled, sampled = Caller(channel, sampled=False), Caller(channel)
    unsampled.stream()
    sampled.stream()
    collector.trace(sampled.trace_id, partial(ended, STREAM))
    assert collector.trace(unsampled.trace_id, lambda _: True) == []


def test_a_request_of_tritons_has_its_queue_and_run_too(collector, channel):
    caller = Caller(channel)
    asked = start("gru1", {"tokens": np.array([[1, 2, 3]])})
    GRPCInferenceServiceStub(channel).ModelInfer(asked, metadata=caller.metadata)
    spans = collector.trace(caller.trace_id, partial(ended, INFER))
    assert sorted(span.name for span in spans) == [INFER, "queue", "run", "step"]
    assert attributes(named(spans, "step")[0].attributes)["rnnserve.steps"] == 3


def test_a_generation_says_how_many_tokens_it_made(collector, channel):
    caller = Caller(channel)
    request = v1.GenerateRequest(model="gru1", text="a")
    request.sampling.max_tokens = 5
    list(rnnserve_pb2_grpc.RnnServeStub(channel).Generate(request, metadata=caller.metadata))
    name = "rnnserve.v1.RnnServe/Generate"
    (found,) = collector.trace(caller.trace_id, partial(ended, name))
    assert attributes(found.attributes)["rnnserve.tokens"] == 5
    assert [event.name for event in found.events] == ["first token"]


def test_spans_say_which_server_made_them_in_the_environments_words_too(collector, channel):
    caller = Caller(channel)
    caller.stream()
    collector.trace(caller.trace_id, partial(ended, STREAM))
    assert collector.resource["service.name"] == "rnnserve"
    assert collector.resource["k8s.pod.name"] == "pod-3"
    assert {"service.version", "service.instance.id"} <= set(collector.resource)


def test_a_server_that_is_told_no_endpoint_does_not_load_opentelemetry(folder):
    command = (sys.executable, "-X", "importtime", "-m", "rnnserve")
    with ServerProcess(folder, command=command) as process:
        assert process.stop() == 0
        imported = "".join(process.log)
    assert "rnnserve.ops.server" in imported
    assert "opentelemetry" not in imported


@pytest.mark.parametrize("listens", [False, True], ids=["away", "silent"])
def test_a_collector_that_does_not_answer_does_not_hold_up_the_stop(folder, listens):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        if listens:
            nobody.listen()
        endpoint = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        tracing = ("--trace-endpoint", endpoint, "--trace-share", "1.0")
        with ServerProcess(folder, *tracing, "--grace-s", "0") as process:
            with grpc.insecure_channel(process.target) as channel:
                Caller(channel).stream()
            assert process.stop(STOP_WITHIN_S) == 0
            assert "Traceback" not in "".join(process.log)


def test_without_the_extra_the_operator_is_told_what_to_install(folder):
    serve = ("serve", "--repository", str(folder), "--trace-endpoint", "http://127.0.0.1:4317")
    said = subprocess.run(
        [sys.executable, "-c", WITHOUT_OPENTELEMETRY, *serve],
        check=False,
        capture_output=True,
        text=True,
    )
    assert said.returncode == 1
    assert "pip install 'rnnserve[trace]'" in said.stderr
    assert "Traceback" not in said.stderr
