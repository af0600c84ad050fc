"""Several servers behind one name share a client's sessions; one that joins gets its part."""

import asyncio
import json
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from threading import Event, Thread

import grpc
import numpy as np
import pytest

import tiny_models as tiny
from raw_session import RawStream, open_session
from rnnserve.client import AsyncFleet, Fleet, ServerError, Session, async_fleet
from rnnserve.v1 import rnnserve_pb2 as v1
from rnnserve.v1 import rnnserve_pb2_grpc
from server_process import ServerProcess, free_port

MODEL = "sum_fp32"
ONE = np.ones((1, 1), np.float32)
NAME = "rnnserve.test"


class Name:
    """A name of servers on loopback, all at one port."""

    def __init__(self, repository: Path) -> None:
        self.port = free_port()
        self.addresses: set[str] = set()
        self.servers: dict[str, ServerProcess] = {}
        self._repository = repository
        self._stack = ExitStack()

    @property
    def target(self) -> str:
        return f"{NAME}:{self.port}"

    def __enter__(self) -> "Name":
        return self

    def __exit__(self, *error) -> None:
        self._stack.close()

    def start(self, host: str) -> None:
        """One more server, which the name leads to from now on."""
        server = ServerProcess(self._repository, "--host", host, "--grace-s", "60", port=self.port)
        self.servers[host] = self._stack.enter_context(server)
        self.addresses.add(host)

    def drain(self, host: str) -> None:
        """Tell a server to stop; returns when it has heard."""
        self.servers[host].signal(signal.SIGTERM)
        while not self.servers[host].metrics()["rnnserve_draining"]:
            pass

    def resolve(self, name: str, port: int) -> set[str]:
        assert (name, port) == (NAME, self.port)
        return set(self.addresses)

    async def resolve_later(self, name: str, port: int) -> set[str]:
        return self.resolve(name, port)

    def sessions(self) -> dict[str, int]:
        """How many sessions each server says it has."""
        sample = f'rnnserve_sessions{{model="{MODEL}"}}'
        return {host: int(server.metrics()[sample]) for host, server in self.servers.items()}


def code_of(session: Session) -> grpc.StatusCode | None:
    """How a step of it fails; None: it doesn't."""
    try:
        session.step(ONE)
    except ServerError as error:
        return error.code
    return None


@pytest.fixture(scope="module")
def repository(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("balanced")
    tiny.publish(folder, [tiny.accumulator()])
    return folder


@pytest.fixture
def three(repository) -> Iterator[Name]:
    with Name(repository) as name:
        for host in ("127.0.0.1", "127.0.0.2", "127.0.0.3"):
            name.start(host)
        yield name


async def test_servers_share_the_sessions_of_a_client_and_a_fourth_joins(three):
    async with (
        AsyncFleet(three.target, resolve=three.resolve_later, look_every_s=0.0) as fleet,
        AsyncExitStack() as stack,
    ):

        async def opened(count: int) -> list:
            opening = (stack.enter_async_context(fleet.open(MODEL)) for _ in range(count))
            return await asyncio.gather(*opening)

        first = await opened(12)
        assert three.sessions() == dict.fromkeys(three.servers, 4)
        three.start("127.0.0.4")
        second = await opened(4)
        assert three.sessions() == dict.fromkeys(three.servers, 4)
        assert three.sessions() == fleet.sessions
        # Each goes on where it is.
        for _ in range(2):
            answers = await asyncio.gather(*(session.step(ONE) for session in first + second))
        assert [answer.item() for answer in answers] == [2.0] * 16
        # One that drains keeps what it has, and gets no more.
        three.drain("127.0.0.2")
        await opened(6)
        held = three.sessions()
        assert held.pop("127.0.0.2") == 4
        assert held == dict.fromkeys(held, 6)
        answers = await asyncio.gather(*(session.step(ONE) for session in first))
        assert [answer.item() for answer in answers] == [3.0] * 12
    assert three.servers["127.0.0.2"].process.wait(20) == 0


async def test_a_server_that_was_started_again_at_its_address_gets_sessions_again(
    repository, monkeypatch
):
    monkeypatch.setattr(async_fleet, "REST_S", 0.1)
    with Name(repository) as name:
        for host in ("127.0.0.1", "127.0.0.2"):
            name.start(host)
        async with AsyncFleet(name.target, resolve=name.resolve_later) as fleet:
            async with fleet.open(MODEL), fleet.open(MODEL):
                name.drain("127.0.0.2")
                async with fleet.open(MODEL):
                    assert fleet.sessions == {"127.0.0.1": 2, "127.0.0.2": 1}
            assert name.servers["127.0.0.2"].process.wait(20) == 0
            name.start("127.0.0.2")
            while True:
                async with fleet.open(MODEL), fleet.open(MODEL):
                    if fleet.sessions == {"127.0.0.1": 1, "127.0.0.2": 1}:
                        break


def test_closing_waits_for_no_name_that_is_being_asked(three):
    asked, answer = Event(), Event()

    def slowly(name: str, port: int) -> set[str]:
        if fleet.sessions:
            asked.set()
            answer.wait(20)
        return three.resolve(name, port)

    with Fleet(three.target, resolve=slowly, look_every_s=0.0) as fleet, ExitStack() as stack:
        session = stack.enter_context(fleet.open(MODEL))
        opening = Thread(target=lambda: stack.enter_context(fleet.open(MODEL)))
        opening.start()
        assert asked.wait(20)
        assert session.step(ONE) == 1
        with fleet.open(MODEL) as another:
            assert another.step(ONE) == 1
        answer.set()
        opening.join()


def test_the_client_without_asyncio_shares_alike_and_passes_over_the_dead(three):
    with Fleet(three.target, resolve=three.resolve) as fleet, ExitStack() as stack:
        sessions = [stack.enter_context(fleet.open(MODEL)) for _ in range(6)]
        assert three.sessions() == dict.fromkeys(three.servers, 2)
        dead = three.servers.pop("127.0.0.3")
        dead.process.kill()
        dead.process.wait()
        more = [stack.enter_context(fleet.open(MODEL)) for _ in range(4)]
        assert three.sessions() == {"127.0.0.1": 4, "127.0.0.2": 4}
        assert all(session.step(ONE) == 1 for session in more)
        codes = Counter(code_of(session) for session in sessions)
        assert codes == {None: 4, grpc.StatusCode.UNAVAILABLE: 2}


def test_a_name_that_leads_nowhere_is_told():
    with (
        Fleet(f"{NAME}:1", resolve=lambda name, port: set()) as fleet,
        pytest.raises(ServerError, match="leads to no server"),
        fleet.open(MODEL),
    ):
        pass


def test_grpcs_own_round_robin_shares_the_streams_of_any_client(three):
    """What clients in other languages do: the channel's policy, a stream for each session."""
    target = "ipv4:" + ",".join(f"{host}:{three.port}" for host in three.servers)
    config = json.dumps({"loadBalancingConfig": [{"round_robin": {}}]})
    with grpc.insecure_channel(target, options=[("grpc.service_config", config)]) as channel:
        stub = rnnserve_pb2_grpc.RnnServeStub(channel)
        # A channel uses the servers that it has reached so far.
        while not all(three.sessions().values()):
            open_session(stub, MODEL)
        before = three.sessions()
        streams = [RawStream(stub) for _ in range(9)]
        for number, stream in enumerate(streams, 1):
            stream.send(v1.Operation(id=number, open=v1.Open(model=MODEL)))
        for number, stream in enumerate(streams, 1):
            assert stream.events(1)[number].opened.session_id
            stream.finish()
        now = three.sessions()
        assert {host: now[host] - before[host] for host in now} == dict.fromkeys(now, 3)


def test_a_connection_has_an_age_and_its_streams_outlive_it(repository):
    with (
        ServerProcess(repository, "--max-connection-age-s", "0.3", "--grace-s", "0.2") as server,
        grpc.insecure_channel(server.target) as channel,
    ):
        left = Event()

        def changed(state: grpc.ChannelConnectivity) -> None:
            if state is grpc.ChannelConnectivity.IDLE and stream is not None:
                left.set()

        stream = None
        channel.subscribe(changed)
        stream = RawStream(rnnserve_pb2_grpc.RnnServeStub(channel))
        stream.send(v1.Operation(id=1, open=v1.Open(model=MODEL)))
        session = stream.events(1)[1].opened.session_id
        assert left.wait(20)
        stream.send(v1.Operation(id=2, step=v1.Step(session_id=session, inputs=[ONE.tobytes()])))
        assert stream.events(1)[2].stepped.index == 0
        stream.finish()
        assert server.stop() == 0
