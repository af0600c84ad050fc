"""One real server process for all tests that don't need one of their own."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import grpc
import pytest

from rnnserve.v1 import rnnserve_pb2_grpc
from server_process import ServerProcess
from small_models import KINDS, publish, small_model

cached_model = cache(small_model)


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every kind of small model."""
    folder = tmp_path_factory.mktemp("repository")
    for kind in KINDS:
        publish(cached_model(*kind), folder)
    return folder


@pytest.fixture(scope="session")
def server(repository: Path) -> Iterator[ServerProcess]:
    with ServerProcess(repository, "--max-chunk-steps", "512") as process:
        yield process
        assert process.stop() == 0, "".join(process.log)
        assert "Traceback" not in "".join(process.log)


@pytest.fixture
def stub(server: ServerProcess) -> Iterator[rnnserve_pb2_grpc.RnnServeStub]:
    """The generated stub: a client that shares no code with ours."""
    with grpc.insecure_channel(server.target) as channel:
        yield rnnserve_pb2_grpc.RnnServeStub(channel)
