"""The test rig: the two workers, the models and the servers, each started when first asked for."""

from pathlib import Path
from types import TracebackType
from typing import TypeVar

from rnnserve_bench import models
from rnnserve_bench.cores import Cores
from rnnserve_bench.errors import BenchProblem
from rnnserve_bench.models import BenchModel
from rnnserve_bench.process import EchoServer, RnnServer, ServerProcess
from rnnserve_bench.triton import TritonServer, find
from rnnserve_bench.worker import Worker

S = TypeVar("S", bound=ServerProcess)


class Rig:
    """A context manager; leaving it ends every process that it started."""

    def __init__(self, cores: Cores, folder: Path, triton_folder: Path) -> None:
        """`folder` holds the models and the servers' logs."""
        self.cores, self.folder = cores, folder
        self._triton_folder = triton_folder
        self._workers: dict[int, Worker] = {}
        self._servers: dict[str, ServerProcess] = {}

    def __enter__(self) -> "Rig":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        for server in self._servers.values():
            server.close()
        self.renew_workers()

    @property
    def on_server_core(self) -> Worker:
        """Runs what is measured without a server."""
        return self._worker(self.cores.server)

    @property
    def on_client_core(self) -> Worker:
        """Runs the load."""
        return self._worker(self.cores.client)

    def _worker(self, core: int) -> Worker:
        if core not in self._workers:
            self._workers[core] = Worker(core)
        return self._workers[core]

    def renew_workers(self) -> None:
        """End both; what a failed measure left in them is gone."""
        while self._workers:
            self._workers.popitem()[1].close()

    def build(self, model: BenchModel) -> Path:
        """The folder of the model's graph, made if there is none."""
        folder = models.version_folder(self.folder, model)
        if not (folder / models.FACTS).exists():
            # A worker of its own: torch's memory goes with it.
            builder = Worker(self.cores.client)
            try:
                builder.call(models.build, self.folder, model)
            finally:
                builder.close()
        return folder

    def repository(self, model: BenchModel) -> Path:
        """A repository with this model alone."""
        self.build(model)
        return models.repository_of(self.folder, model)

    def server(self, model: BenchModel) -> RnnServer:
        """rnnserve with this model alone."""
        name = f"rnnserve {model.name}"
        if name not in self._servers or not self._servers[name].alive:
            self._servers[name] = self.fresh_server(model)
        return _as(RnnServer, self._servers[name])

    def fresh_server(self, model: BenchModel, *options: str) -> RnnServer:
        """Another one, with options; the caller's to close."""
        log = self.folder / f"{model.name}.log"
        return RnnServer(self.repository(model), *options, core=self.cores.server, log=log)

    def retire(self, model: BenchModel) -> None:
        """End this model's server: its threads and its memory are needed no more."""
        if server := self._servers.pop(f"rnnserve {model.name}", None):
            server.stop_politely()

    def echo(self) -> EchoServer:
        """The bare wire."""
        if "echo" not in self._servers:
            log = self.folder / "echo.log"
            self._servers["echo"] = EchoServer(core=self.cores.server, log=log)
        return _as(EchoServer, self._servers["echo"])

    def versions(self) -> dict[str, str]:
        """Of what lies outside of our own environment."""
        try:
            found = find(self._triton_folder).versions
        except BenchProblem:
            return {}
        return {f"Triton's {name}": version for name, version in found.items()}

    def triton(self, model: BenchModel) -> TritonServer:
        """Triton with this model. Raises BenchProblem where it isn't installed."""
        name = f"triton {model.name}"
        if name not in self._servers or not self._servers[name].alive:
            installed = find(self._triton_folder)
            work = self.folder / name.replace(" ", "-")
            folder = self.build(model)
            self._servers[name] = TritonServer(installed, folder, core=self.cores.server, work=work)
        return _as(TritonServer, self._servers[name])


def _as(kind: type[S], server: ServerProcess) -> S:
    assert isinstance(server, kind)
    return server
