"""The life of a server process. Its stop is in test_stop.py."""

import subprocess
import sys

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from raw_session import exchange, open_session, refusal, step
from rnnserve.v1 import rnnserve_pb2 as v1
from rnnserve.v1 import rnnserve_pb2_grpc
from server_process import ServerProcess
from small_models import publish, small_model


@pytest.fixture(scope="module")
def one_model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("one")
    publish(small_model("gru", 1), folder)
    return folder


def test_health_and_reflection_answer(server):
    with grpc.insecure_channel(server.target) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for service in ("", "rnnserve.v1.RnnServe"):
            answer = health.Check(health_pb2.HealthCheckRequest(service=service))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        ask = reflection_pb2.ServerReflectionRequest(list_services="")
        (answer,) = stub.ServerReflectionInfo(iter([ask]))
        names = {service.name for service in answer.list_services_response.service}
        assert {"rnnserve.v1.RnnServe", "grpc.health.v1.Health"} <= names


def test_an_idle_session_expires_and_says_so(one_model):
    with (
        ServerProcess(one_model, "--idle-timeout-s", "0.2") as server,
        grpc.insecure_channel(server.target) as channel,
    ):
        stub = rnnserve_pb2_grpc.RnnServeStub(channel)
        session = open_session(stub, "gru1")
        while server.metrics()['rnnserve_sessions{model="gru1"}']:
            pass
        (event,) = exchange(stub, step(session, 0, [1]))
        assert refusal(event)[:2] == ("FAILED_PRECONDITION", "session_expired")


def test_a_port_that_is_taken_ends_in_a_sentence(one_model, server):
    taken = server.target.rsplit(":", 1)[1]
    command = (sys.executable, "-m", "rnnserve", "serve", "--repository", str(one_model))
    ended = subprocess.run(
        [*command, "--port", taken, "--metrics-port", "0"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 1
    assert "--port" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("content", [None, "broken"])
def test_nothing_to_serve_ends_in_a_sentence(tmp_path, content):
    if content:
        (tmp_path / "bad" / "1").mkdir(parents=True)
        (tmp_path / "bad" / "config.pbtxt").write_text("max_batch_sise: 1")
    command = (sys.executable, "-m", "rnnserve", "serve", "--repository", str(tmp_path))
    ended = subprocess.run(command, check=False, capture_output=True, text=True)
    assert ended.returncode == 1
    assert "rnnserve export" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert content is None or "max_batch_sise" in ended.stderr


def test_a_broken_model_is_reported_and_the_others_serve(tmp_path):
    publish(small_model("gru", 1), tmp_path)
    publish(small_model("lstm", 1), tmp_path)
    (tmp_path / "lstm1" / "1" / "model.onnx").write_bytes(b"not a graph")
    with ServerProcess(tmp_path) as server, grpc.insecure_channel(server.target) as channel:
        reply = rnnserve_pb2_grpc.RnnServeStub(channel).ListModels(v1.ListModelsRequest())
        assert [model.model for model in reply.models] == ["gru1"]
        assert [broken.model for broken in reply.broken] == ["lstm1"]
