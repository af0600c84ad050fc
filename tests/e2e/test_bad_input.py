"""Bad input gets its own status and reason, loses nothing, and leaves the neighbours alone."""

import grpc
import numpy as np
import pytest
from google.rpc import error_details_pb2, status_pb2

from raw_session import close, exchange, logits, open_session, refusal, step
from rnnserve.v1 import rnnserve_pb2 as v1
from rnnserve.v1 import rnnserve_pb2_grpc
from server_process import ServerProcess
from small_models import V, publish, small_model

FLOATS = np.zeros(2, np.float32).tobytes()


@pytest.fixture
def session(stub):
    session_id = open_session(stub)
    yield session_id
    exchange(stub, close(session_id))


BAD_STEPS = {
    "an index out of range": ([0, V], {}, "INVALID_ARGUMENT", "value_out_of_range"),
    "a negative index": ([-1], {}, "INVALID_ARGUMENT", "value_out_of_range"),
    "a wrong number of bytes": (b"\0" * 12, {}, "INVALID_ARGUMENT", "wrong_size"),
    "an empty chunk": ([], {}, "INVALID_ARGUMENT", "empty_chunk"),
    "a chunk too long": ([0] * 513, {}, "INVALID_ARGUMENT", "chunk_too_long"),
    "a wrong type": (FLOATS, {"data_types": [v1.FP32]}, "INVALID_ARGUMENT", "wrong_dtype"),
}


@pytest.mark.parametrize("case", BAD_STEPS)
def test_a_bad_step_is_refused_and_its_neighbours_and_its_session_go_on(stub, session, case):
    data, more, code, reason = BAD_STEPS[case]
    neighbour = open_session(stub)
    good = [1, 2, 3]
    before, bad, beside = exchange(
        stub, step(session, 0, good), step(session, 3, data, **more), step(neighbour, 0, good)
    )
    assert refusal(bad)[:2] == (code, reason)
    (after,) = exchange(stub, step(session, 3, good))
    np.testing.assert_array_equal(logits(before, V), logits(beside, V))
    assert len(logits(after, V)) == 3
    exchange(stub, close(neighbour))


def test_two_inputs_where_one_is_taken(stub, session):
    two = v1.Step(session_id=session, inputs=[b"\0" * 8, b"\0" * 8])
    (event,) = exchange(stub, v1.Operation(step=two))
    assert refusal(event) == ("INVALID_ARGUMENT", "wrong_input_count", {"expected": "1"})


def test_the_index_rules_each_have_their_code(stub, session):
    exchange(stub, step(session, 0, [1]), step(session, 1, [2]))
    gap, other = exchange(stub, step(session, 7, [1]), step(session, 1, [3]))
    assert refusal(gap) == ("OUT_OF_RANGE", "index_gap", {"expected": "2"})
    assert refusal(other) == ("FAILED_PRECONDITION", "other_input", {"expected": "2"})
    for index in range(2, 2 + 32):
        exchange(stub, step(session, index, [1]))
    (past,) = exchange(stub, step(session, 0, [1]))
    assert refusal(past) == ("ALREADY_EXISTS", "index_past", {"expected": "34"})


def test_a_step_before_open_an_unknown_and_a_closed_session_are_told_apart(stub):
    closed = open_session(stub)
    exchange(stub, close(closed))
    events = exchange(
        stub, step("", 0, [1]), step("no-such-session", 0, [1]), step(closed, 0, [1]), close(closed)
    )
    assert [refusal(event)[:2] for event in events] == [
        ("FAILED_PRECONDITION", "not_open"),
        ("NOT_FOUND", "unknown_session"),
        ("FAILED_PRECONDITION", "session_closed"),
        ("FAILED_PRECONDITION", "session_closed"),
    ]


@pytest.mark.parametrize("name", ["nobody", "../lstm1", "lstm1/1", "x" * 10_000])
def test_an_unknown_model_is_not_found(stub, name):
    (event,) = exchange(stub, v1.Operation(open=v1.Open(model=name)))
    assert refusal(event)[:2] == ("NOT_FOUND", "unknown_model")


def test_an_unknown_version_is_not_found(stub):
    (event,) = exchange(stub, v1.Operation(open=v1.Open(model="lstm1", version=9)))
    assert refusal(event)[:2] == ("NOT_FOUND", "unknown_model")


def test_missing_fields_are_named(stub):
    events = exchange(stub, v1.Operation(open=v1.Open()), v1.Operation())
    assert [refusal(event) for event in events] == [
        ("INVALID_ARGUMENT", "missing_field", {"field": "model"}),
        ("INVALID_ARGUMENT", "missing_field", {"field": "kind"}),
    ]


def test_a_frame_one_byte_over_the_limit_is_refused_and_one_at_the_limit_is_not(stub, session):
    limit = 4 << 20
    frame = v1.OperationFrame(operations=[step(session, 0, b"")])
    frame.operations[0].id = 5
    room = limit - frame.ByteSize() - 12  # tags and lengths of what is about to grow
    frame.operations[0].step.inputs[0] = b"\0" * room
    while frame.ByteSize() < limit:
        frame.operations[0].step.inputs[0] += b"\0"
    assert frame.ByteSize() == limit
    (event,) = stub.Exchange(frame).events
    assert refusal(event)[1] != "frame_too_large"
    frame.operations[0].step.inputs[0] += b"\0"
    (event,) = stub.Exchange(frame).events
    assert refusal(event) == ("INVALID_ARGUMENT", "frame_too_large", {"limit": str(limit)})


def test_a_message_far_over_the_limit_is_refused_by_the_transport(stub):
    frame = v1.OperationFrame(operations=[step("any", 0, b"\0" * (6 << 20))])
    with pytest.raises(grpc.RpcError) as error:
        stub.Exchange(frame)
    assert error.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize(
    ("request_fields", "reason"),
    [
        ({"model": "lstm1", "text": ""}, "empty_chunk"),
        ({"model": "lstm1"}, "empty_chunk"),
        ({"model": "nobody", "text": "a"}, "unknown_model"),
        ({"model": "lstm1", "tokens": v1.TokenIds(ids=[V])}, "value_out_of_range"),
        ({"model": "lstm1", "text": "a", "sampling": {"temperature": -1}}, "bad_sampling"),
        ({"model": "lstm1", "text": "a", "sampling": {"top_p": 1.5}}, "bad_sampling"),
        ({"model": "lstm1", "text": "a", "sampling": {"stop": [""]}}, "bad_sampling"),
    ],
)
def test_a_bad_generation_ends_with_a_status_and_its_reason(stub, request_fields, reason):
    with pytest.raises(grpc.RpcError) as error:
        list(stub.Generate(v1.GenerateRequest(**request_fields)))
    details = dict(error.value.trailing_metadata())["grpc-status-details-bin"]
    info = error_details_pb2.ErrorInfo()
    status_pb2.Status.FromString(details).details[0].Unpack(info)
    assert info.reason == reason


def test_one_session_too_many_is_refused_until_one_ends(tmp_path):
    publish(small_model("gru", 1), tmp_path)
    with (
        ServerProcess(tmp_path, "--max-sessions", "2") as server,
        grpc.insecure_channel(server.target) as channel,
    ):
        stub = rnnserve_pb2_grpc.RnnServeStub(channel)
        first, _ = (open_session(stub, "gru1") for _ in range(2))
        (event,) = exchange(stub, v1.Operation(open=v1.Open(model="gru1")))
        assert refusal(event) == ("RESOURCE_EXHAUSTED", "too_many_sessions", {"limit": "2"})
        retry = error_details_pb2.RetryInfo()
        assert event.error.details[1].Unpack(retry)
        assert retry.retry_delay.ToMilliseconds() > 0
        exchange(stub, close(first))
        open_session(stub, "gru1")
        errors = server.metrics()
        assert errors['rnnserve_errors_total{fault="load",reason="too_many_sessions"}'] == 1
        assert errors['rnnserve_sessions{model="gru1"}'] == 2


def test_a_frame_of_too_many_operations_is_refused_whole(stub):
    frame = v1.OperationFrame(operations=[v1.Operation()] * 1025)
    with pytest.raises(grpc.RpcError) as error:
        stub.Exchange(frame)
    assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_equal_operation_ids_are_answered_in_the_operations_order(stub, session):
    frame = v1.OperationFrame(operations=[step(session, 0, [1]), step("nobody", 0, [1])])
    events = stub.Exchange(frame).events
    assert [event.WhichOneof("kind") for event in events] == ["stepped", "error"]


@pytest.mark.parametrize("method", ["Exchange", "Generate", "Stream", "DescribeModel"])
def test_bytes_that_are_no_message_are_the_callers_fault_and_show_nothing(server, method):
    path = f"/rnnserve.v1.RnnServe/{method}"
    with grpc.insecure_channel(server.target) as channel, pytest.raises(grpc.RpcError) as error:
        list(channel.stream_stream(path)(iter([b"\xff\xff\xff"])))
    assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "DecodeError" not in error.value.details()
