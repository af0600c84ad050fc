"""Triton itself reads what the exporter writes, where Triton is installed.

The wheel has no onnxruntime backend. So the backend of each model becomes a Python one that does
nothing: Triton still reads the whole configuration, sets up its sequence batcher with every state
and its beginning, and says READY or what it does not like.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from rnnserve_bench.errors import BenchProblem
from rnnserve_bench.triton import Installed, find, free_port
from small_models import KINDS, publish, small_model

ROW = re.compile(r"^\| (\w+) +\| 1 +\| (READY|UNAVAILABLE[^|]*?) *\|", re.MULTILINE)
IDLE_MODEL = """
import sys
# The stub's interpreter is isolated and looks at no PYTHONPATH.
sys.path.insert(0, {site_packages!r})
class TritonPythonModel:
    def execute(self, requests):
        return []
"""


@pytest.fixture
def triton() -> Installed:
    try:
        return find()
    except BenchProblem as problem:
        pytest.skip(str(problem))


def lay_out(triton: Installed, repository: Path, backends: Path) -> None:
    """The small models, one of them broken, with a backend that Triton has."""
    for cell, layers in KINDS:
        publish(small_model(cell, layers), repository)
    publish(small_model("gru", 1), repository / "other")
    (repository / "other" / "gru1").rename(repository / "broken")
    (repository / "other").rmdir()
    model = IDLE_MODEL.format(site_packages=str(triton.site_packages))
    for config in repository.glob("*/config.pbtxt"):
        text = config.read_text().replace('backend: "onnxruntime"', 'backend: "python"')
        if config.parent.name == "broken":
            # A beginning of another type than its state.
            text = text.replace('name: "gru1"', 'name: "broken"')
            text = re.sub(r"(initial_state \{\s+data_type: TYPE_)FP32", r"\1FP16", text)
        config.write_text(text)
        (config.parent / "1" / "model.py").write_text(model)
    root = triton.server.parents[1]
    shutil.copytree(root / "backends", backends)
    stub = root / "python_backend_stubs" / triton.python / "triton_python_backend_stub"
    shutil.copy(stub, backends / "python")


@pytest.mark.optional
def test_triton_takes_every_model_that_the_exporter_writes(triton, tmp_path):
    repository, backends = tmp_path / "repository", tmp_path / "backends"
    lay_out(triton, repository, backends)
    command = [str(triton.server), "--model-repository", str(repository)]
    command += ["--backend-directory", str(backends), "--allow-http", "false"]
    command += ["--allow-metrics", "false", "--strict-readiness", "false"]
    # A broken model ends it; that is when it has said everything.
    command += ["--exit-on-error", "true", "--grpc-address", "127.0.0.1"]
    command += ["--grpc-port", str(free_port())]
    libraries = str(triton.site_packages / "nvidia_pytriton.libs")
    done = subprocess.run(
        command,
        env={**os.environ, "LD_LIBRARY_PATH": libraries},
        check=False,
        capture_output=True,
        text=True,
        timeout=600,
    )
    states = dict(ROW.findall(done.stdout + done.stderr))
    assert states.keys() == {f"{cell}{layers}" for cell, layers in KINDS} | {"broken"}, done.stderr
    assert "'initial_state' field of state 'h0'" in states.pop("broken")
    assert set(states.values()) == {"READY"}
