"""The wheel: only our own names, no torch to serve, and a server that streams from it."""

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import grpc
import numpy as np
import pytest

from raw_session import exchange, logits, open_session, step
from rnnserve.v1 import rnnserve_pb2_grpc
from server_process import ServerProcess
from small_models import V, publish, small_model

ROOT = Path(__file__).parents[2]
OURS = {"rnnserve", "rnnserve_models", "rnnserve_export"}
HEAVY = ("torch", "onnx", "matplotlib")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--outdir", str(folder), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (found,) = folder.glob("*.whl")
    return found


def test_the_wheels_top_level_names_are_only_ours(wheel):
    tops = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == OURS


@pytest.mark.timeout(600)
def test_the_wheel_serves_from_a_clean_environment_without_torch(wheel, tmp_path):
    environment = tmp_path / "clean"
    venv.create(environment, with_pip=True)
    python = environment / "bin" / "python"
    constraints = ("--constraint", str(ROOT / "constraints.txt"))
    subprocess.run(
        [python, "-m", "pip", "install", "-q", *constraints, wheel], check=True, cwd=tmp_path
    )
    listed = subprocess.run(
        [python, "-m", "pip", "list", "--format=freeze"], check=True, capture_output=True, text=True
    )
    installed = {line.split("==")[0].lower() for line in listed.stdout.splitlines()}
    assert installed.isdisjoint(HEAVY)
    repository = tmp_path / "repository"
    model = small_model("lstm", 2)
    publish(model, repository)
    command = (str(environment / "bin" / "rnnserve"),)
    with (
        ServerProcess(repository, command=command) as server,
        grpc.insecure_channel(server.target) as channel,
    ):
        stub = rnnserve_pb2_grpc.RnnServeStub(channel)
        session = open_session(stub)
        (event,) = exchange(stub, step(session, 0, [1, 2, 3]))
        _, wanted = model.reference(model.reference.initial_carry(1), np.array([[1, 2, 3]]))
        np.testing.assert_allclose(logits(event, V), wanted[0], atol=1e-5)


def test_serving_loads_neither_torch_nor_onnx(repository):
    script = (
        "import sys, signal, threading, os\n"
        "from rnnserve.cli import main\n"
        "from rnnserve.ops.grpc_port import GrpcPort\n"
        "ready = GrpcPort.set_ready\n"
        "async def stop_when_ready(self):\n"
        "    await ready(self)\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "GrpcPort.set_ready = stop_when_ready\n"
        f"main(['serve', '--repository', {str(repository)!r}, '--port', '0', "
        "'--metrics-port', '0'])\n"
        f"print(sorted(set(sys.modules) & {set(HEAVY)!r}))\n"
    )
    environment = {**os.environ, "RNNSERVE_GRACE_S": "0"}
    ended = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True, env=environment
    )
    assert ended.stdout.strip() == "[]"


def test_a_server_of_a_2_x_256_model_is_ready_within_2_seconds(tmp_path):
    publish(small_model("lstm", 2, hidden=256), tmp_path)
    # The best of three: the first start reads everything from a cold disk.
    times_s = []
    for _ in range(3):
        with ServerProcess(tmp_path) as server:
            times_s.append(server.ready_after_s)
    assert min(times_s) <= 2.0, times_s
