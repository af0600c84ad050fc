"""What the health port says."""

from unittest.mock import Mock

import grpc
import pytest
from grpc_health.v1 import health_pb2

from rnnserve.errors import OperatorError
from rnnserve.ops.health_port import TURNS_WITHIN_S, Health, HealthPort


class World:
    """A server that may be ready, on a loop that may turn."""

    def __init__(self) -> None:
        self.now_s, self.is_ready = 100.0, True
        self.health = Health(["a.Service"], lambda: self.is_ready, lambda: self.now_s)

    def serves(self, service: str) -> bool:
        request = health_pb2.HealthCheckRequest(service=service)
        answer = self.health.Check(request, Mock())
        return answer.status == health_pb2.HealthCheckResponse.SERVING


@pytest.fixture
def world():
    return World()


def test_readiness_is_the_servers_and_liveness_is_not(world):
    assert [world.serves(name) for name in ("", "a.Service", "liveness")] == [True, True, True]
    world.is_ready = False
    assert [world.serves(name) for name in ("", "a.Service", "liveness")] == [False, False, True]


def test_a_loop_that_turns_no_more_is_neither_live_nor_ready_until_it_turns_again(world):
    world.now_s += TURNS_WITHIN_S
    assert world.serves("liveness")
    world.now_s += 0.1
    assert [world.serves(name) for name in ("", "a.Service", "liveness")] == [False, False, False]
    world.health.turned()
    assert [world.serves(name) for name in ("", "a.Service", "liveness")] == [True, True, True]


def test_a_port_that_is_taken_is_named_with_its_option(world):
    port = HealthPort("127.0.0.1", 0, world.health)
    try:
        with pytest.raises(OperatorError) as refused:
            HealthPort("127.0.0.1", port.port, world.health)
        assert "--health-port" in str(refused.value)
        with grpc.insecure_channel(f"127.0.0.1:{port.port}") as channel:
            nothing_else = channel.unary_unary("/rnnserve.v1.RnnServe/ListModels")
            with pytest.raises(grpc.RpcError) as unknown:
                nothing_else(b"")
        assert unknown.value.code() is grpc.StatusCode.UNIMPLEMENTED
    finally:
        port.close()
