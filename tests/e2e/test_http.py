"""The protocol over HTTP against a real server: curl, tritonclient[http], and beside gRPC."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

import tiny_models
from e2e.conftest import left_over
from peers import lines
from peers.place import CLIENT, CLIENT_PYTHON
from rnnserve.triton import grpc_service_pb2 as wire
from rnnserve.triton import grpc_service_pb2_grpc
from rnnserve.v1 import rnnserve_pb2_grpc
from server_process import ServerProcess
from small_models import publish, small_model

URL = re.compile(r"over HTTP: http://(\S+)/v2")
PATIENCE_S = 30.0


def address(server: ServerProcess) -> str:
    """HOST:PORT of the HTTP server, as the log has it."""
    found = URL.search("".join(server.log))
    assert found is not None
    return found.group(1)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("http")
    tiny_models.publish(folder, tiny_models.all_of_them())
    types = set(tiny_models.ONNX_TYPES) - {"FP16"}
    replace(tiny_models.everything(sorted(types)), name="all_but_halves").write(folder)
    publish(small_model("gru", 1), folder)
    return folder


@pytest.fixture(scope="module")
def http(repository: Path) -> Iterator[ServerProcess]:
    with ServerProcess(repository, "--http-port", "0") as server:
        yield server
        assert server.stop() == 0
        assert "Traceback" not in "".join(server.log)


@pytest.fixture
def curl(http: ServerProcess) -> Callable[..., bytes]:
    """What curl prints of a path; its status stands behind it where `-w` asks for that."""
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")

    def run(path: str, *options: str) -> bytes:
        command = ["curl", "-sS", "--max-time", str(PATIENCE_S), *options]
        return subprocess.run(
            [*command, f"http://{address(http)}{path}"], capture_output=True, check=True
        ).stdout

    return run


@contextmanager
def tritonclient(target: str) -> Iterator[Callable[..., Any]]:
    """Calls of tritonclient's HTTP client, in a process of its own."""
    CLIENT.require()
    with subprocess.Popen(
        [CLIENT_PYTHON, "-m", "peers.triton_http", target],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def call(method: str, **arguments: object) -> Any:
            process.stdin.write(lines.write({"method": method, "arguments": arguments}) + "\n")
            return lines.read(process.stdout.readline())

        try:
            yield call
        finally:
            process.stdin.close()


def step(value: float, number: object, **parameters: object) -> str:
    """A request to a model that sums FP32."""
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [value]}
    return json.dumps({"inputs": [tensor], "parameters": {"sequence_id": number, **parameters}})


def test_curl_steps_a_sequence(curl: Callable[..., bytes]) -> None:
    path = "/v2/models/sum_fp32/infer"
    bodies = [
        step(2, 5, sequence_start=True),
        step(3, 5),
        step(4, 5, sequence_end=True),
    ]
    said = [json.loads(curl(path, "-d", body)) for body in bodies]
    assert [reply["outputs"][0]["data"] for reply in said] == [[2], [5], [9]]
    gone = curl(path, "-d", step(1, 5), "-w", "\n%{http_code}").decode()
    body, status = gone.rsplit("\n", 1)
    assert status == "400"
    assert json.loads(body)["reason"] == "sequence_not_started"


def test_curl_asks_how_the_server_is(curl: Callable[..., bytes]) -> None:
    assert json.loads(curl("/v2/health/ready", "-f")) == {"ready": True}
    assert "POST /v2/models/{name}/infer" in curl("/", "-f").decode()
    head = curl("/v2", "-f", "-D", "-", "-o", os.devnull).decode()
    assert "aiohttp" not in head
    index = json.loads(curl("/v2/repository/index", "-f", "-X", "POST"))
    assert {"name": "gru1", "version": "1", "state": "READY", "reason": ""} in index


def test_curl_reads_text_as_it_is_made(curl: Callable[..., bytes]) -> None:
    body = json.dumps({"text_input": "abc", "parameters": {"max_tokens": 40, "seed": 1}})
    stream = curl("/v2/models/gru1/generate_stream", "-N", "-f", "-d", body).decode()
    events = [json.loads(line.removeprefix("data: ")) for line in stream.split("\n\n") if line]
    whole = json.loads(curl("/v2/models/gru1/generate", "-f", "-d", body))
    assert "".join(event["text_output"] for event in events) == whole["text_output"]
    assert events[-1]["end"] == whole["end"]
    assert whole["end"]["generated_tokens"] == 40


def test_a_curl_that_is_killed_leaves_nothing(http: ServerProcess) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    url = f"http://{address(http)}/v2/models/gru1/generate_stream"
    body = json.dumps({"text_input": "abc", "parameters": {"max_tokens": 60_000}})
    with subprocess.Popen(["curl", "-sSN", "-d", body, url], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b"data: ")
        process.kill()
    with grpc.insecure_channel(http.target) as channel:
        assert left_over(rnnserve_pb2_grpc.RnnServeStub(channel)) == (0, 0, 0)


def test_bytes_that_are_no_http_are_refused_and_not_logged(http: ServerProcess) -> None:
    host, port = address(http).rsplit(":", 1)
    before = len(http.log)
    with socket.create_connection((host, int(port)), PATIENCE_S) as connection:
        connection.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
        assert connection.recv(1 << 16).startswith(b"HTTP/1.0 400 ")
    assert http.log[before:] == []


def test_tritonclient_infers_and_asks(http: ServerProcess) -> None:
    with tritonclient(address(http)) as call:
        assert call("is_server_live")["result"] is True
        assert call("is_server_ready")["result"] is True
        assert call("is_model_ready", model_name="marked")["result"] is True
        assert call("is_model_ready", model_name="nobody")["result"] is False
        assert call("get_server_metadata")["result"]["name"] == "rnnserve"
        found = call("get_model_metadata", model_name="sum_fp32", model_version="1")["result"]
        assert found["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 1]}]
        config = call("get_model_config", model_name="sum_fp32")["result"]
        assert config["sequence_batching"]["oldest"]["max_candidate_sequences"] == 64
        names = {entry["name"] for entry in call("get_model_repository_index")["result"]}
        assert {"marked", "gru1"} <= names
        one = {"x": np.ones((1, 1), np.float32)}
        before = statistics(call)
        for in_json in (True, False):
            for value in (1, 2, 3):
                told = call(
                    "infer",
                    model_name="sum_fp32",
                    inputs=one,
                    json_in=in_json,
                    json_out=["y"] if in_json else None,
                    sequence_id="a text" if in_json else (1 << 64) - 1,
                    sequence_start=value == 1,
                    sequence_end=value == 3,
                )
                assert told["result"]["y"].tolist() == [[value]]
        assert statistics(call) == before + 6
        error = call("infer", model_name="sum_fp32", inputs=one, sequence_id=1)["error"]
        assert error["status"] == "400"
        assert "must specify the START flag" in error["message"]
        assert call("get_model_config", model_name="nobody")["error"]["status"] == "404"
        assert call("load_model", model_name="marked")["error"]["status"] == "501"
        assert call("get_trace_settings")["error"]["status"] == "501"


def statistics(call: Callable[..., Any]) -> int:
    found = call("get_inference_statistics", model_name="sum_fp32")["result"]
    return found["model_stats"][0]["inference_count"]


@pytest.mark.parametrize("json_in", [False, True])
@pytest.mark.parametrize("json_out", [False, True])
def test_every_type_goes_through_tritonclient(
    http: ServerProcess, json_in: bool, json_out: bool
) -> None:
    with tritonclient(address(http)) as call:
        found = call("get_model_metadata", model_name="everything")["result"]
        types = {tensor["name"].removeprefix("in_") for tensor in found["inputs"]}
        assert len(types) > 10
        model = "everything"
        if json_in:
            # Triton's client has no halves in JSON, and writes NaN as no JSON has it.
            model, types = "all_but_halves", types - {"FP16"}
        given = {f"in_{of}": example(of, finite=json_in) for of in types}
        wanted = [f"out_{of}" for of in types] if json_out else None
        told = call("infer", model_name=model, inputs=given, json_in=json_in, json_out=wanted)
        for of in types:
            back = told["result"][f"out_{of}"]
            if of == "BYTES":
                # The line between the processes makes bytes of all text.
                back = np.array([[element.decode() for element in back[0]]], object)
            np.testing.assert_array_equal(back, given[f"in_{of}"])


def example(datatype: str, *, finite: bool) -> np.ndarray:
    """Three elements, the extreme ones among them."""
    if datatype == "BYTES":
        return np.array([["", "a", "\u00fc"]], object)
    dtype = lines.DTYPES[datatype]
    if dtype.kind == "b":
        return np.array([[True, False, True]])
    if dtype.kind == "f":
        return np.array([[-0.1, *((1e4, 0) if finite else (np.inf, np.nan))]], dtype)
    bounds = np.iinfo(dtype)
    return np.array([[bounds.min, 1, bounds.max]], dtype)


def test_a_sequence_that_began_over_grpc_goes_on_over_http(
    http: ServerProcess, curl: Callable[..., bytes]
) -> None:
    request = wire.ModelInferRequest(model_name="sum_fp32")
    request.inputs.add(name="x", datatype="FP32", shape=[1, 1])
    request.raw_input_contents.append(np.float32(7).tobytes())
    request.parameters["sequence_id"].int64_param = 77
    request.parameters["sequence_start"].bool_param = True
    with grpc.insecure_channel(http.target) as channel:
        grpc_service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(request)
    reply = json.loads(curl("/v2/models/sum_fp32/infer", "-d", step(1, 77, sequence_end=True)))
    assert reply["outputs"][0]["data"] == [8]


def test_a_generation_is_told_that_the_server_stops(repository: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    with ServerProcess(repository, "--http-port", "0", "--grace-s", "0.2") as server:
        url = f"http://{address(server)}/v2/models/gru1/generate_stream"
        body = json.dumps({"text_input": "abc", "parameters": {"max_tokens": 65_536}})
        with subprocess.Popen(["curl", "-sSN", "-d", body, url], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            server.signal(signal.SIGTERM)
            *_, last, empty = process.stdout.read().split(b"\n\n")
        assert empty == b""
        told = json.loads(last.removeprefix(b"data: "))
        assert told["reason"] == "draining"
        assert server.process.wait(PATIENCE_S) == 0
    assert "Traceback" not in "".join(server.log)


def test_http_is_off_unless_asked_for_and_a_taken_port_is_said(
    repository: Path, http: ServerProcess
) -> None:
    with ServerProcess(repository) as server:
        assert URL.search("".join(server.log)) is None
        assert server.stop() == 0
    port = address(http).rsplit(":", 1)[1]
    with (
        pytest.raises(AssertionError, match=f"--http-port {port}"),
        ServerProcess(repository, "--http-port", port),
    ):
        pass
