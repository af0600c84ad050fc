"""One real server process for all tests that don't need one of their own."""

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
import trustme

import tiny_folders as folders
import tiny_models as tiny
from broken_folders import broken
from peers.triton_peer import TritonPeer
from rnnserve.v1 import rnnserve_pb2 as v1
from rnnserve.v1 import rnnserve_pb2_grpc
from server_process import ServerProcess
from small_models import KINDS, publish, small_model


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every kind of small model."""
    folder = tmp_path_factory.mktemp("repository")
    for kind in KINDS:
        publish(small_model(*kind), folder)
    return folder


@pytest.fixture(scope="session")
def server(repository: Path) -> Iterator[ServerProcess]:
    with ServerProcess(repository, "--max-chunk-steps", "512") as process:
        yield process
        assert process.stop() == 0, "".join(process.log)
        assert "Traceback" not in "".join(process.log)


@pytest.fixture(scope="session")
def triton_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """On a repository of Triton's, with models of every kind and broken ones among them."""
    folder = tmp_path_factory.mktemp("triton")
    tiny.publish(folder, [*tiny.all_of_them(), *folders.spelled()])
    tiny.publish(folder, (model for model, _ in broken()))
    tiny.publish(folder, folders.controlled())
    folders.versioned(folder, "several", "version_policy { all { } }", (1, 2, 5))
    folders.queued(1).write(folder)
    tiny.accumulator(name="hasty", idle_us=50_000).write(folder)
    tiny.accumulator(name="from_40", begins_with=40).write(folder)
    with ServerProcess(folder, "--grace-s", "0.2") as process:
        yield process
        assert process.stop() == 0, "".join(process.log)
        # Some of the models fail on purpose, and the log tells how; nothing else may.
        assert "unexpected error" not in "".join(process.log)


@pytest.fixture(scope="session")
def peer(triton_server: ServerProcess) -> Iterator[TritonPeer]:
    """tritonclient, talking to it."""
    with TritonPeer(triton_server.target) as peer:
        yield peer


@pytest.fixture
def stub(server: ServerProcess) -> Iterator[rnnserve_pb2_grpc.RnnServeStub]:
    """The generated stub: a client that shares no code with ours."""
    with grpc.insecure_channel(server.target) as channel:
        stub = rnnserve_pb2_grpc.RnnServeStub(channel)
        yield stub
        # Whatever a test did, cancelled calls too: soon nothing is left, and the tables are sound.
        assert left_over(stub) == (0, 0, 0)


def left_over(stub: rnnserve_pb2_grpc.RnnServeStub, looks: int = 300) -> tuple[int, int, int]:
    """Sessions, generations and waiting steps, once they are none or don't become so."""
    for _ in range(looks):
        found = stub.Audit(v1.AuditRequest())
        assert list(found.problems) == []
        left = found.sessions, found.generations, found.waiting_steps
        if not any(left):
            break
    return left


@pytest.fixture(scope="module")
def authority():
    return trustme.CA(key_type=trustme.KeyType.ECDSA)


@pytest.fixture(scope="module")
def clients():
    """The authority of the clients' certificates."""
    return trustme.CA(key_type=trustme.KeyType.ECDSA)
