"""The stop of a server process, with real signals and real clients (CASES 30 to 33)."""

import asyncio
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

import counting_server
from raw_session import IDS, RawStream, exchange, open_session, reason_of, step
from rnnserve.client import AsyncClient, AsyncSession, ServerError
from rnnserve.triton import grpc_service_pb2 as triton
from rnnserve.triton import grpc_service_pb2_grpc as triton_grpc
from rnnserve.v1 import rnnserve_pb2 as v1
from rnnserve.v1 import rnnserve_pb2_grpc
from server_process import START, ServerProcess
from slow_models import MS, slow, turns
from small_models import publish, small_model

HEALTH = re.compile(r"health alone: grpc (\S+)")
HTTP = re.compile(r"over HTTP: (\S+)")
SERVING = health_pb2.HealthCheckResponse.SERVING
IN_THREADS = ("--max-stall-ms", "0")


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stop")
    publish(small_model("gru", 1), folder)
    slow().write(folder)
    return folder


def told(server, line: re.Pattern[str]) -> str:
    return next(found[1] for found in map(line.search, server.log) if found)


def wait_for(server, words: str) -> None:
    until_s = time.monotonic() + 300
    while not any(words in line for line in server.log):
        assert time.monotonic() < until_s, f"no {words!r} in the log"


def checked(target: str, service: str = "") -> bool:
    with grpc.insecure_channel(target) as channel:
        request = health_pb2.HealthCheckRequest(service=service)
        return health_pb2_grpc.HealthStub(channel).Check(request, timeout=5).status == SERVING


def readiness(server) -> dict[str, bool]:
    """What every door says to whoever asks whether the server is ready."""
    with grpc.insecure_channel(server.target) as channel:
        inference = triton_grpc.GRPCInferenceServiceStub(channel)
        said = {
            "health": checked(server.target),
            "health port": checked(told(server, HEALTH)),
            "health port, a service": checked(told(server, HEALTH), "rnnserve.v1.RnnServe"),
            "server": inference.ServerReady(triton.ServerReadyRequest()).ready,
            "model": inference.ModelReady(triton.ModelReadyRequest(name="gru1")).ready,
        }
    for name in ("health/ready", "models/gru1/ready"):
        try:
            said[name] = urllib.request.urlopen(f"{told(server, HTTP)}/{name}").status == 200
        except urllib.error.HTTPError as error:
            error.close()
            said[name] = False
    return said


def to_the_end(stream: RawStream) -> tuple[list[v1.Event], str]:
    """All that still comes, and why nothing more does."""
    events: list[v1.Event] = []
    try:
        for frame in stream.call:
            events += frame.events
    except grpc.RpcError as cut:
        return events, reason_of(cut)
    return events, ""


def infer(number: int, **parameters: bool) -> triton.ModelInferRequest:
    request = triton.ModelInferRequest(model_name="slow", raw_input_contents=[turns(number)])
    request.inputs.add(name="x", datatype="FP32", shape=[1, 1])
    request.parameters["sequence_id"].int64_param = 7
    for name, value in parameters.items():
        request.parameters[name].bool_param = value
    return request


def test_a_stop_with_nothing_open_exits_0_at_once(repository):
    with ServerProcess(repository, "--grace-s", "60") as server:
        assert server.stop(timeout_s=10) == 0
        assert "Traceback" not in "".join(server.log)


async def test_a_server_that_stops_says_so_everywhere_and_what_is_open_goes_on(repository):
    options = ("--grace-s", "60", "--health-port", "0", "--http-port", "0")
    with ServerProcess(repository, *options) as server:
        async with (
            AsyncClient(server.target) as client,
            AsyncClient(server.target) as late,
            client.open("gru1") as session,
        ):
            await session.step([1])
            assert client.left_s is session.left_s is None
            assert set(readiness(server).values()) == {True}
            server.signal(signal.SIGTERM)
            assert 30 < await client.draining() <= 60
            assert set(readiness(server).values()) == {False}
            assert checked(told(server, HEALTH), "liveness")
            for somebody in (client, late):
                with pytest.raises(ServerError) as refused:
                    async with somebody.open("gru1"):
                        pass
                assert refused.value.reason == "draining"
                assert refused.value.code is grpc.StatusCode.UNAVAILABLE
                assert refused.value.retry_after_s
            assert 30 < late.left_s <= 60
            assert 30 < session.left_s <= 60
            await session.step([2])
            assert session.index == 2
        assert server.process.wait(300) == 0


def test_no_step_that_was_taken_in_loses_its_answer(repository):
    with (
        ServerProcess(repository, "--grace-s", "0", *IN_THREADS) as server,
        grpc.insecure_channel(server.target) as channel,
    ):
        stub = rnnserve_pb2_grpc.RnnServeStub(channel)
        inference = triton_grpc.GRPCInferenceServiceStub(channel)
        sessions = [open_session(stub, "slow") for _ in range(4)]
        inference.ModelInfer(infer(1, sequence_start=True))
        stream, other = RawStream(stub), inference.ModelStreamInfer(iter([infer(20 * MS)]))
        steps = [step(session, i, turns(20 * MS)) for i in range(3) for session in sessions[:3]]
        for operation in steps:
            operation.id = next(IDS)
        stream.send(*steps)
        unary = step(sessions[3], 0, turns(20 * MS))
        alone = stub.Exchange.future(v1.OperationFrame(operations=[unary]))
        while stub.Audit(v1.AuditRequest()).waiting_steps < 10:
            pass
        server.signal(signal.SIGTERM)
        events, reason = to_the_end(stream)
        assert reason == "draining"
        answered = {event.id for event in events if event.HasField("stepped")}
        assert answered == {operation.id for operation in steps}
        (notice,) = [event for event in events if event.HasField("draining")]
        assert (notice.id, notice.draining.left_s) == (0, 0)
        assert alone.result().events[0].HasField("stepped")
        assert next(other).infer_response.model_name == "slow"
        assert server.process.wait(300) == 0
        assert "Traceback" not in "".join(server.log)


class Crowd:
    """Clients that step as fast as they can until they are refused."""

    def __init__(self, target: str) -> None:
        self._target = target
        self.answers = 0
        self.reasons: set[str] = set()
        self.is_at_it = asyncio.Event()

    async def come(self, clients: int) -> None:
        await asyncio.gather(*(self._one() for _ in range(clients)))

    async def _one(self) -> None:
        async with AsyncClient(self._target) as client, client.open("gru1") as session:
            await asyncio.gather(*(self._step(session) for _ in range(8)))

    async def _step(self, session: AsyncSession) -> None:
        try:
            while True:
                await session.step([1])
                self.answers += 1
                if self.answers == 1000:
                    self.is_at_it.set()
        except ServerError as error:
            self.reasons.add(error.reason)


async def test_a_crowd_that_steps_until_it_is_refused_has_heard_every_answer(repository):
    command = (sys.executable, counting_server.__file__)
    with ServerProcess(repository, "--grace-s", "0", command=command) as server:
        crowd = Crowd(server.target)
        coming = asyncio.create_task(crowd.come(clients=16))
        await crowd.is_at_it.wait()
        server.signal(signal.SIGTERM)
        await coming
        assert server.process.wait(300) == 0
    assert crowd.reasons == {"draining"}
    (said,) = [line for line in server.log if counting_server.SAYS in line]
    assert int(said.split()[-1]) == crowd.answers


def test_a_client_that_does_not_read_does_not_hold_up_the_stop(repository):
    with (
        ServerProcess(repository, "--grace-s", "0") as server,
        # A window that doesn't grow, so that what isn't read piles up at the server.
        grpc.insecure_channel(server.target, [("grpc.http2.bdp_probe", 0)]) as channel,
    ):
        stub = rnnserve_pb2_grpc.RnnServeStub(channel)
        session = open_session(stub, "gru1")
        deaf = RawStream(stub)
        chunk = [1] * 512
        deaf.send(*(step(session, at * len(chunk), chunk) for at in range(32)))
        done = 32 * len(chunk)
        while server.metrics()['rnnserve_steps_total{model="gru1"}'] < done:
            pass
        began_s = time.monotonic()
        assert server.stop() == 0
        # It was given its second to read, and no more.
        assert time.monotonic() - began_s >= 0.9
        assert "Traceback" not in "".join(server.log)


def test_a_generation_under_way_is_cut_after_its_tokens(repository):
    with (
        ServerProcess(repository, "--grace-s", "0") as server,
        grpc.insecure_channel(server.target) as channel,
    ):
        stub = rnnserve_pb2_grpc.RnnServeStub(channel)
        pieces = stub.Generate(v1.GenerateRequest(model="gru1", text="a"))
        next(pieces)
        server.signal(signal.SIGTERM)
        with pytest.raises(grpc.RpcError) as cut:
            list(pieces)
        assert reason_of(cut.value) == "draining"
        assert server.process.wait(300) == 0
        assert "Traceback" not in "".join(server.log)


def test_what_outlasts_the_grace_is_cut_and_the_process_ends_all_the_same(repository):
    with (
        ServerProcess(repository, "--grace-s", "0.2", *IN_THREADS) as server,
        grpc.insecure_channel(server.target) as channel,
    ):
        stub = rnnserve_pb2_grpc.RnnServeStub(channel)
        session, idle = open_session(stub, "slow"), open_session(stub, "gru1")
        stream = RawStream(stub)
        endless = step(session, 0, turns(1_000_000 * MS))
        call = stub.Exchange.future(v1.OperationFrame(operations=[endless]))
        while not stub.Audit(v1.AuditRequest()).waiting_steps:
            pass
        server.signal(signal.SIGTERM)
        assert next(stream.call).events[0].draining.left_s <= 0.2
        wait_for(server, "sessions are cut")
        (event,) = exchange(stub, step(idle, 0, [1]))
        assert event.error.code == grpc.StatusCode.UNAVAILABLE.value[0]
        with pytest.raises(grpc.RpcError) as cut:
            next(stream.call)
        assert reason_of(cut.value) == "draining"
        with pytest.raises(grpc.RpcError):
            call.result()
        assert server.process.wait(300) == 0
        assert "left at work: run_0" in "".join(server.log)


def test_a_second_signal_ends_the_process_while_it_drains(repository):
    with (
        ServerProcess(repository, "--grace-s", "600") as server,
        grpc.insecure_channel(server.target) as channel,
    ):
        open_session(rnnserve_pb2_grpc.RnnServeStub(channel), "gru1")
        server.signal(signal.SIGTERM)
        wait_for(server, "draining: 1 sessions open")
        server.signal(signal.SIGTERM)
        assert server.process.wait(10) == 128 + signal.SIGTERM


def test_a_second_signal_ends_the_process_while_it_waits_for_a_run(repository):
    with (
        ServerProcess(repository, "--grace-s", "0", *IN_THREADS) as server,
        grpc.insecure_channel(server.target) as channel,
    ):
        stub = rnnserve_pb2_grpc.RnnServeStub(channel)
        endless = step(open_session(stub, "slow"), 0, turns(1_000_000 * MS))
        call = stub.Exchange.future(v1.OperationFrame(operations=[endless]))
        while not stub.Audit(v1.AuditRequest()).waiting_steps:
            pass
        server.signal(signal.SIGTERM)
        wait_for(server, "under way for too long")
        server.signal(signal.SIGINT)
        assert server.process.wait(10) == 128 + signal.SIGINT
        assert call.exception() is not None


def test_a_stop_while_models_load_exits_0_and_probes_are_answered_until_then(tmp_path):
    slow(turns_alone=1_000_000 * MS).write(tmp_path)
    ports = ("--port", "0", "--metrics-port", "0", "--health-port", "0")
    with subprocess.Popen(
        [*START, "serve", "--repository", str(tmp_path), *ports], stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stderr is not None
            target = next(found[1] for found in map(HEALTH.search, process.stderr) if found)
            assert not checked(target)
            assert checked(target, "liveness")
            with pytest.raises(grpc.RpcError) as unknown:
                checked(target, "nobody")
            assert unknown.value.code() is grpc.StatusCode.NOT_FOUND
            process.send_signal(signal.SIGTERM)
            assert process.wait(300) == 0
            assert "Traceback" not in process.stderr.read()
        finally:
            process.kill()


def test_a_stop_before_anything_is_there_exits_0():
    script = (
        "import os, signal\n"
        "from rnnserve.ops.signals import StopSignals\n"
        "StopSignals().listen()\n"
        "os.kill(os.getpid(), signal.SIGTERM)\n"
        "print('went on')\n"
    )
    ended = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)
    assert ended.stdout == b""


def test_probes_are_answered_while_a_run_holds_the_loop(repository):
    with (
        ServerProcess(repository, "--grace-s", "0", "--health-port", "0") as server,
        grpc.insecure_channel(server.target) as channel,
    ):
        stub = rnnserve_pb2_grpc.RnnServeStub(channel)
        session = open_session(stub, "slow")
        # The model was quick when it was measured: the run is on the loop.
        long = step(session, 0, turns(400 * MS))
        call = stub.Exchange.future(v1.OperationFrame(operations=[long]))
        during = 0
        while not call.done():
            assert checked(told(server, HEALTH))
            during += not call.done()
        assert during > 3
        assert call.result().events[0].HasField("stepped")
