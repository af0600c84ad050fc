"""Nothing is left behind by whatever callers do (CASES 35): sessions, generations, tasks of the
loop, threads and open files of a server process are counted before and after."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import grpc
import psutil
import pytest

from raw_session import IDS, RawStream, close, exchange, open_session, step
from rnnserve.v1 import rnnserve_pb2 as v1
from rnnserve.v1 import rnnserve_pb2_grpc
from server_process import ServerProcess
from slow_models import MS, slow, turns
from small_models import publish, small_model

TIMES = 10
IDLE_S = 1.0
GRPCS_OWN = {"event_engine", "lifeguard", "grpc_global_tim"}
"""Names of threads, as far as the system keeps them."""
VANISHING = """
import os, sys
import grpc
sys.path.insert(0, {tests!r})
from raw_session import RawStream, open_session, step
from rnnserve.v1 import rnnserve_pb2 as v1
from rnnserve.v1.rnnserve_pb2_grpc import RnnServeStub
kept = []
for _ in range({times}):
    channel = grpc.insecure_channel({target!r}, [("grpc.use_local_subchannel_pool", 1)])
    stub = RnnServeStub(channel)
    stream = RawStream(stub)
    stream.send(step(open_session(stub, "gru1"), 0, [1]))
    stream.events(1)
    pieces = stub.Generate(v1.GenerateRequest(model="gru1", text="a"))
    next(pieces)
    kept.append((channel, stream, pieces))
print("here", flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("left")
    publish(small_model("gru", 1), folder)
    slow().write(folder)
    with ServerProcess(folder, "--idle-timeout-s", str(IDLE_S), "--max-stall-ms", "0") as process:
        yield process
        assert process.stop() == 0
        assert "Traceback" not in "".join(process.log)


class Counted:
    """What a server process has, looked at over a connection that stays."""

    def __init__(self, server: ServerProcess, stub: rnnserve_pb2_grpc.RnnServeStub) -> None:
        self._process = psutil.Process(server.process.pid)
        self._stub = stub

    def now(self) -> dict[str, int]:
        found = self._stub.Audit(v1.AuditRequest())
        assert list(found.problems) == []
        return {
            "sessions": found.sessions,
            "generations": found.generations,
            "waiting steps": found.waiting_steps,
            "tasks": found.tasks,
            "threads": self._threads(),
            "files": self._process.num_fds(),
        }

    def _threads(self) -> int:
        """But gRPC's, of which it starts more where the machine is busy."""
        names = []
        for thread in Path(f"/proc/{self._process.pid}/task").iterdir():
            with suppress(OSError):  # it has just ended
                names.append((thread / "comm").read_text().strip())
        return sum(name not in GRPCS_OWN for name in names)

    def back_to(self, before: dict[str, int]) -> dict[str, int]:
        """What is more than before, once nothing is or it doesn't go away."""
        until_s = time.monotonic() + 300
        while True:
            more = {name: n for name, n in self.now().items() if n > before[name]}
            if not more or time.monotonic() > until_s:
                return more


@pytest.fixture
def counted(server) -> Iterator[Counted]:
    with grpc.insecure_channel(server.target) as channel:
        yield Counted(server, rnnserve_pb2_grpc.RnnServeStub(channel))


def goes_well(stub: rnnserve_pb2_grpc.RnnServeStub) -> None:
    session = open_session(stub, "gru1")
    stream = RawStream(stub)
    stream.send(step(session, 0, [1, 2, 3]), close(session))
    stream.finish()
    list(stream.call)


def is_cancelled(stub: rnnserve_pb2_grpc.RnnServeStub) -> None:
    session = open_session(stub, "slow")
    stream = RawStream(stub)
    stream.send(step(session, 0, turns(MS)))
    pieces = stub.Generate(v1.GenerateRequest(model="gru1", text="a"))
    next(pieces)
    pieces.cancel()
    stream.call.cancel()


def is_too_late(stub: rnnserve_pb2_grpc.RnnServeStub) -> None:
    session = open_session(stub, "slow")
    long = v1.OperationFrame(operations=[step(session, 0, turns(50 * MS))])
    # Who is quicker: the server, which refuses it, or the client, which gives up.
    with suppress(grpc.RpcError):
        (refused,) = stub.Exchange(long, timeout=0.001).events
        assert refused.HasField("error")
    # A client that is kept waiting may have the end before it sees that it is late.
    with suppress(grpc.RpcError):
        list(stub.Generate(v1.GenerateRequest(model="gru1", text="a"), timeout=0.01))


def is_wrong(stub: rnnserve_pb2_grpc.RnnServeStub) -> None:
    session = open_session(stub, "gru1")
    (event,) = exchange(stub, step(session, 5, [1]))
    assert event.HasField("error")
    with pytest.raises(grpc.RpcError):
        list(stub.Generate(v1.GenerateRequest(model="none", text="a")))
    garbage = stub.Stream(iter([v1.OperationFrame(operations=[v1.Operation(id=next(IDS))])]))
    list(garbage)


@pytest.mark.parametrize("act", [goes_well, is_cancelled, is_too_late, is_wrong])
def test_calls_leave_nothing_behind_however_they_end(server, counted, act):
    def act_often() -> None:
        for _ in range(TIMES):
            # A connection each: it is a file, too.
            option = ("grpc.use_local_subchannel_pool", 1)
            with grpc.insecure_channel(server.target, [option]) as channel:
                act(rnnserve_pb2_grpc.RnnServeStub(channel))

    act_often()
    nothing = dict.fromkeys(("sessions", "generations", "waiting steps"), 0)
    before = counted.now() | nothing
    assert counted.back_to(before) == {}
    before = counted.now()
    act_often()
    assert counted.back_to(before) == {}


def test_clients_that_vanish_leave_nothing_behind(server, counted):
    before = counted.now()
    tests = next(path for path in sys.path if path.endswith("tests"))
    script = VANISHING.format(target=server.target, tests=tests, times=TIMES)
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as client:
        assert client.stdout is not None
        assert client.stdout.readline() == b"here\n"
        assert counted.now()["sessions"] >= TIMES
        client.kill()
    assert counted.back_to(before) == {}
