"""A server that is full says what of, lets in again once there is room, and outlives nobody."""

import grpc
import pytest

from raw_session import (
    close,
    exchange,
    export,
    fork,
    open_session,
    refusal,
    restore,
    retry_ms,
    step,
)
from rnnserve.v1 import rnnserve_pb2 as v1
from rnnserve.v1 import rnnserve_pb2_grpc
from server_process import ServerProcess
from small_models import V, publish, small_model

MODEL = small_model("gru", 1)
OPEN = v1.Operation(open=v1.Open(model="gru1"))


@pytest.fixture
def serve(tmp_path):
    """Start a server with these options; a stub for it."""
    publish(MODEL, tmp_path)
    running: list = []

    def start(*options: str) -> rnnserve_pb2_grpc.RnnServeStub:
        server = ServerProcess(tmp_path, "--grace-s", "0", *options).__enter__()
        channel = grpc.insecure_channel(server.target)
        running.append((server, channel))
        return rnnserve_pb2_grpc.RnnServeStub(channel)

    yield start
    for server, channel in running:
        channel.close()
        assert server.stop() == 0
        server.__exit__()
        assert "Traceback" not in "".join(server.log)


def test_sessions_that_carry_too_much_in_all_are_refused_by_name(serve):
    stub = serve("--max-carry-bytes", str(2 * MODEL.spec.carry_bytes + 1))
    first, second = open_session(stub, "gru1"), open_session(stub, "gru1")
    (exported,) = exchange(stub, export(first))
    for event in exchange(stub, OPEN, fork(first), restore("gru1", exported.exported.blob)):
        assert refusal(event)[:2] == ("RESOURCE_EXHAUSTED", "no_carry_room")
        assert retry_ms(event) > 0
    exchange(stub, close(second))
    forked, stepped = exchange(stub, fork(first), step(first, 0, [1]))
    assert forked.HasField("forked")
    assert stepped.HasField("stepped")
    assert not stub.Audit(v1.AuditRequest()).problems


@pytest.mark.parametrize(
    "options",
    [
        ("--max-waiting-steps", "600"),
        ("--max-waiting-bytes", str(600 * MODEL.spec.step_bytes)),
    ],
)
def test_more_steps_than_may_wait_are_refused_and_the_session_lives(serve, options):
    stub = serve(*options)
    session, other = open_session(stub, "gru1"), open_session(stub, "gru1")
    taken, refused, fits = exchange(
        stub, step(session, 0, [1] * 500), step(other, 0, [1] * 200), step(other, 0, [2] * 100)
    )
    assert refusal(refused)[:2] == ("RESOURCE_EXHAUSTED", "overloaded")
    assert retry_ms(refused) > 0
    assert taken.HasField("stepped")
    assert fits.HasField("stepped")
    (event,) = exchange(stub, step(other, 100, [1] * 600))
    assert len(event.stepped.outputs[0]) == 600 * V * 4
    found = stub.Audit(v1.AuditRequest())
    assert not found.problems
    assert (found.waiting_steps, found.waiting_bytes) == (0, 0)


def test_a_session_that_has_lived_long_enough_says_so(serve):
    stub = serve("--max-life-s", "0.5")
    session, index = open_session(stub, "gru1"), 0
    while True:
        (event,) = exchange(stub, step(session, index, [1]))
        if event.HasField("error"):
            break
        index += 1
    assert index > 0
    assert refusal(event)[:2] == ("FAILED_PRECONDITION", "session_too_old")
    assert stub.Audit(v1.AuditRequest()).sessions == 0


def test_a_forgetful_pipeliner_is_told_how_many_may_be_under_way(serve):
    stub = serve()
    session = open_session(stub, "gru1")
    events = exchange(stub, *(step(session, index, [1]) for index in range(40)))
    assert [event.HasField("stepped") for event in events] == [True] * 32 + [False] * 8
    assert refusal(events[32])[:2] == ("RESOURCE_EXHAUSTED", "too_many_pending")
    assert retry_ms(events[32]) > 0
    for event in events[33:]:
        assert refusal(event)[:2] == ("OUT_OF_RANGE", "index_gap")
    (event,) = exchange(stub, step(session, 32, [1]))
    assert event.stepped.index == 32
