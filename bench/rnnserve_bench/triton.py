"""Triton's server from the wheel nvidia-pytriton, in a virtual environment of its own.

Of its own, because the wheel wants an older numpy and protobuf than rnnserve.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from rnnserve_bench.errors import BenchProblem
from rnnserve_bench.models import FACTS, GRAPH, VOCABULARY
from rnnserve_bench.process import ServerProcess

CACHE = Path.home() / ".cache" / "rnnserve-bench" / "triton"
PACKAGES = ("nvidia-pytriton==0.7.0", "onnxruntime==1.32.0")
HOW = "python -m rnnserve_bench install-triton"
MODEL = "bench"

CONFIG = f"""
name: "{MODEL}"
backend: "python"
max_batch_size: 64
input [ {{ name: "TOKENS" data_type: TYPE_INT64 dims: [ -1 ] }} ]
output [ {{ name: "LOGITS" data_type: TYPE_FP32 dims: [ -1, {VOCABULARY} ] }} ]
instance_group [ {{ count: 1 kind: KIND_CPU }} ]
sequence_batching {{
  max_sequence_idle_microseconds: 60000000
  oldest {{ max_candidate_sequences: 256 }}
  control_input [
    {{ name: "START" control [ {{ kind: CONTROL_SEQUENCE_START int32_false_true: [ 0, 1 ] }} ] }},
    {{ name: "END" control [ {{ kind: CONTROL_SEQUENCE_END int32_false_true: [ 0, 1 ] }} ] }},
    {{ name: "CORRID" control [ {{ kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_UINT64 }} ] }}
  ]
}}
"""


@dataclass(frozen=True)
class Installed:
    """Where the server and the packages of its models lie."""

    server: Path
    site_packages: Path
    python: str
    """Version of the Python whose packages these are, as in the stubs' folder."""
    versions: dict[str, str]


def install(folder: Path = CACHE) -> None:
    """Make the environment and install the wheels into it; about 200 MB."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, *PACKAGES], check=True)


def find(folder: Path = CACHE) -> Installed:
    """What `install` left. Raises BenchProblem where there is nothing that runs."""
    found = sorted(folder.glob("lib/python*/site-packages/pytriton/tritonserver/bin/tritonserver"))
    if not found:
        raise BenchProblem(f"Triton isn't installed: {HOW}")
    site = found[0].parents[3]
    versions = {}
    for name in ("nvidia_pytriton", "onnxruntime", "numpy"):
        for info in site.glob(f"{name}-*.dist-info"):
            versions[name] = info.name.removeprefix(f"{name}-").removesuffix(".dist-info")
    return Installed(found[0], site, site.parent.name.removeprefix("python"), versions)


class TritonServer(ServerProcess):
    """tritonserver with one model of the Python backend."""

    READY = re.compile(r"Started GRPCInferenceService at ([\d.]+:\d+)")

    def __init__(self, installed: Installed, graph_folder: Path, *, core: int, work: Path) -> None:
        """`graph_folder` holds the graph to serve; repository and backend are laid out in `work`.

        Raises BenchProblem when it doesn't start.
        """
        repository, backends = work / "repository", work / "backends"
        _lay_out(installed, graph_folder, repository, backends)
        command = [str(installed.server)]
        command += ["--model-repository", str(repository), "--backend-directory", str(backends)]
        command += ["--allow-http", "false", "--allow-metrics", "false"]
        command += ["--grpc-address", "127.0.0.1", "--grpc-port", str(free_port())]
        environment = {
            **os.environ,
            # The stub was built to find them beside its place in the wheel.
            "LD_LIBRARY_PATH": str(installed.site_packages / "nvidia_pytriton.libs"),
            "OMP_NUM_THREADS": "1",
        }
        super().__init__(
            command, self.READY, core=core, log=work / "triton.log", environment=environment
        )
        self.target = self.ready.group(1)

    @property
    def pids(self) -> tuple[int, ...]:
        """The server's and its Python stub's."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return (self.pid, *map(int, children))


def _lay_out(installed: Installed, graph_folder: Path, repository: Path, backends: Path) -> None:
    if backends.exists():
        shutil.rmtree(backends.parent)
    model = repository / MODEL / "1"
    model.mkdir(parents=True)
    (model.parent / "config.pbtxt").write_text(CONFIG)
    shutil.copy(Path(__file__).with_name("triton_backend.py"), model / "model.py")
    (model / "site-packages.txt").write_text(str(installed.site_packages))
    for name in (GRAPH, FACTS):
        shutil.copy(graph_folder / name, model / name)
    root = installed.server.parents[1]
    shutil.copytree(root / "backends", backends)
    stub = root / "python_backend_stubs" / installed.python / "triton_python_backend_stub"
    if not stub.exists():
        raise BenchProblem(f"the wheel has no stub for Python {installed.python}")
    shutil.copy(stub, backends / "python")


def free_port() -> int:
    """A port of loopback that is free now; Triton takes no 0."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
