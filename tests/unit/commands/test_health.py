"""`rnnserve health` against gRPC's own health service."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from unit.commands.conftest import Run

ServingStatus = health_pb2.HealthCheckResponse.ServingStatus


class Silent(health.HealthServicer):
    """Answers when it is too late."""

    def __init__(self) -> None:
        super().__init__()
        self.over = threading.Event()

    def Check(self, request, context):
        self.over.wait(20)
        return super().Check(request, context)


@contextmanager
def answering(servicer: health.HealthServicer | None) -> Iterator[str]:
    """A server with this health service, or none; gives its address."""
    server = grpc.server(ThreadPoolExecutor(1))
    if servicer is not None:
        health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


@pytest.fixture
def servicer() -> health.HealthServicer:
    return health.HealthServicer()


@pytest.fixture
def ask_health(run: Run, servicer) -> Iterator[Callable[..., object]]:
    with answering(servicer) as target:
        yield lambda *arguments: run("health", "--target", target, *arguments)


def test_who_serves_is_told_so_and_the_status_is_0(ask_health, servicer):
    servicer.set("", ServingStatus.SERVING)
    ran = ask_health()
    assert (ran.code, ran.out, ran.err) == (0, "SERVING\n", "")


@pytest.mark.parametrize("status", ["NOT_SERVING", "UNKNOWN"])
def test_anything_but_serving_is_1_with_its_name(ask_health, servicer, status):
    servicer.set("", ServingStatus.Value(status))
    ran = ask_health()
    assert (ran.code, ran.out) == (1, "")
    assert f"is {status}" in ran.err


def test_nobody_there_is_1_and_says_where_to_look(run):
    ran = run("health", "--target", "127.0.0.1:1")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith("rnnserve: no answer from 127.0.0.1:1: ")
    assert "--health-port" in ran.err
    assert ran.err.count("\n") == 1


def test_an_answer_that_is_late_is_1(run):
    silent = Silent()
    with answering(silent) as target:
        ran = run("health", "--target", target, "--timeout-s", "0.1")
        silent.over.set()
    assert ran.code == 1
    assert f"no answer from {target} within 0.1 s" in ran.err


def test_a_server_without_health_is_1_and_said_to_be_another(run):
    with answering(None) as target:
        ran = run("health", "--target", target)
    assert ran.code == 1
    assert "is it rnnserve?" in ran.err
