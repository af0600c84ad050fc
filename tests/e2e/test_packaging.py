"""The wheel: only our own names, and in the image's environment a server that streams, no torch."""

import email
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import grpc
import numpy as np
import pytest

from deploy import dockerfile
from raw_session import exchange, logits, open_session, step
from rnnserve.v1 import rnnserve_pb2_grpc
from server_process import ServerProcess
from small_models import V, publish, small_model

ROOT = Path(__file__).parents[2]
OURS = {"rnnserve", "rnnserve_models", "rnnserve_export", "rnnserve_bench"}
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


def test_a_package_index_can_show_licence_authors_and_addresses(wheel):
    with zipfile.ZipFile(wheel) as files:
        (name,) = (name for name in files.namelist() if name.endswith(".dist-info/METADATA"))
        found = email.message_from_bytes(files.read(name))
        licence = files.read(name.replace("METADATA", "licenses/LICENSE")).decode()
    assert found["License-Expression"] == "Apache-2.0"
    assert "Apache License" in licence
    assert found["Author"]
    addresses = dict(url.split(", ") for url in found.get_all("Project-URL"))
    assert {"Homepage", "Documentation", "Changelog", "Issues"} <= set(addresses)
    assert all(url.startswith("https://") for url in addresses.values())
    assert "Operating System :: POSIX :: Linux" in found.get_all("Classifier")
    assert found["Description-Content-Type"] == "text/markdown"


@pytest.fixture(scope="module")
def image(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The environment that goes into the image, by the Dockerfile's own line. Only pip's cache,
    which has no place in an image, saves a download here."""
    environment = tmp_path_factory.mktemp("image") / "venv"
    shutil.copy(ROOT / "constraints.txt", wheel.parent)
    (line,) = dockerfile.ours().all_of("RUN", 1)
    line = line.replace("/venv", str(environment)).replace("/dist", str(wheel.parent))
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    subprocess.run(
        ["sh", "-ec", line.replace("--no-cache-dir", "-q")],
        check=True,
        capture_output=True,
        cwd=environment.parent,
        env={**os.environ, "PATH": path},
    )
    return environment


def test_the_image_has_no_torch_and_is_as_big_as_its_readme_says(image):
    packages = next(image.glob("lib/python*/site-packages"))
    installed = {folder.name.lower() for folder in packages.iterdir()}
    assert installed.isdisjoint({*HEAVY, "pip"})
    assert {"rnnserve", "onnxruntime", "opentelemetry"} <= installed
    found = sum(path.lstat().st_size for path in image.rglob("*") if not path.is_dir()) / 1e6
    said = re.search(r"\*\*(\d+) MB\*\*", (ROOT / "deploy" / "README.md").read_text())
    assert found == pytest.approx(int(said[1]), rel=0.1)


def test_the_image_serves_and_says_that_it_is_well(image, tmp_path, monkeypatch):
    described = dockerfile.ours()
    for name, value in described.environment.items():
        if not name.startswith(("RNNSERVE_", "PATH")):
            monkeypatch.setenv(name, value)
    repository = tmp_path / "repository"
    model = small_model("lstm", 2)
    publish(model, repository)
    command = str(image / "bin" / "rnnserve")
    options = ("--health-port", "0", "--grace-s", "0")
    with (
        ServerProcess(repository, *options, command=(command,)) as server,
        grpc.insecure_channel(server.target) as channel,
    ):
        stub = rnnserve_pb2_grpc.RnnServeStub(channel)
        session = open_session(stub)
        (event,) = exchange(stub, step(session, 0, [1, 2, 3]))
        _, wanted = model.reference(model.reference.initial_carry(1), np.array([[1, 2, 3]]))
        np.testing.assert_allclose(logits(event, V), wanted[0], atol=1e-5)
        health = re.search(r"health alone: grpc (\S+)", "".join(server.log))
        asked = [command, "health", "--target", health[1]]
        assert subprocess.run(asked, check=True, capture_output=True).stdout == b"SERVING\n"
        assert server.stop() == 0
    assert subprocess.run(asked, check=False, capture_output=True).returncode == 1


def test_serving_loads_neither_torch_nor_onnx_nor_tracing(repository):
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
        f"print(sorted(set(sys.modules) & { ({*HEAVY, 'opentelemetry'})!r}))\n"
    )
    environment = {**os.environ, "RNNSERVE_GRACE_S": "0"}
    ended = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True, env=environment
    )
    assert ended.stdout.strip() == "[]"
