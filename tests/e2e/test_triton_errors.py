"""What Triton's clients read when something is wrong: Triton's codes and Triton's sentences."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import tiny_models as tiny
from peers.inference import Answer, Input, Output, PeerError, Region, Request
from peers.triton_peer import TritonPeer
from server_process import ServerProcess

ONE = np.ones((1, 1), np.float32)
X = {"x": ONE}
AB = {"A": np.ones((1, 4), np.float32), "B": np.ones((1, 4), np.float32)}
ROWS_NOTE = (
    "NOTE: Setting a non-zero max_batch_size in the model config requires a batch dimension to be "
    "prepended to each input shape."
)
AB_B = Input("B", AB["B"])


def of_a_sequence(model: str, inputs, number: int | str = 900, **more) -> Request:
    return Request(model, inputs, sequence_id=number, sequence_start=True, **more)


REFUSED: dict[str, tuple[Request, str, str]] = {
    "no start": (
        Request("sum_fp32", X, sequence_id=12345),
        "INVALID_ARGUMENT",
        "inference request for sequence 12345 to model 'sum_fp32' must specify the START flag on "
        "the first request of the sequence",
    ),
    "no start by name": (
        Request("sum_fp32", X, sequence_id="nobody", request_id="r"),
        "INVALID_ARGUMENT",
        "inference request for sequence nobody to model 'sum_fp32' must specify the START flag on "
        "the first request of the sequence",
    ),
    "no id": (
        Request("sum_fp32", X),
        "INVALID_ARGUMENT",
        "inference request to model 'sum_fp32' must specify a non-zero or non-empty correlation ID",
    ),
    "several rows of a sequence": (
        of_a_sequence("sum_fp32", {"x": np.ones((2, 1), np.float32)}),
        "INVALID_ARGUMENT",
        "inference request to model 'sum_fp32' must specify batch-size 1 due to requirements of "
        "sequence batcher",
    ),
    "a name where the graph wants a number": (
        of_a_sequence("marked_uint64", X, "a name"),
        "INVALID_ARGUMENT",
        "[request id: <id_unknown>] sequence batching control 'id' data-type is 'BYTES', but model "
        "'marked_uint64' expects 'UINT64'",
    ),
    "a number where the graph wants a name": (
        of_a_sequence("marked_bytes", X, 3, request_id="r"),
        "INVALID_ARGUMENT",
        "[request id: r] sequence batching control 'id' data-type is 'UINT64', but model "
        "'marked_bytes' expects 'BYTES'",
    ),
    "a long name": (
        of_a_sequence("sum_fp32", X, "n" * 129),
        "UNIMPLEMENTED",
        "string correlation ID cannot be longer than 128 characters",
    ),
    "no such model": (
        Request("nobody", X),
        "NOT_FOUND",
        "Request for unknown model: 'nobody' is not found",
    ),
    "no such version": (
        Request("several", X, model_version="3"),
        "NOT_FOUND",
        "Request for unknown model: 'several' version 3 is not found",
    ),
    "no version that is ready": (
        Request("wrong_dims", X),
        "NOT_FOUND",
        "Request for unknown model: 'wrong_dims' has no available versions",
    ),
    "a version that is not ready": (
        Request("wrong_dims", X, model_version="1"),
        "UNAVAILABLE",
        "Request for unknown model: 'wrong_dims' version 1 is not at ready state",
    ),
    "no version at all": (
        Request("several", X, model_version="newest"),
        "INVALID_ARGUMENT",
        "failed to get model version from specified version string 'newest' (details: stol), "
        "version should be an integral value > 0",
    ),
    "a shape": (
        Request("adder", AB | {"A": np.ones((1, 5), np.float32)}, request_id="r"),
        "INVALID_ARGUMENT",
        "[request id: r] unexpected shape for input 'A' for model 'adder'. Expected [-1,4], got "
        f"[1,5]. {ROWS_NOTE}",
    ),
    "a shape without rows": (
        of_a_sequence("unbatched", {"x": np.ones((1, 2), np.float32)}),
        "INVALID_ARGUMENT",
        "[request id: <id_unknown>] unexpected shape for input 'x' for model 'unbatched'. Expected "
        "[2], got [1,2]. ",
    ),
    "a type": (
        Request("adder", AB | {"A": np.ones((1, 4), np.int32)}, request_id="r"),
        "INVALID_ARGUMENT",
        "[request id: r] inference input 'A' data-type is 'INT32', but model 'adder' expects "
        "'FP32'",
    ),
    "bytes": (
        Request(
            "adder",
            [Input("A", np.ones((1, 3), np.float32), shape=[1, 4]), AB_B],
            request_id="r",
        ),
        "INVALID_ARGUMENT",
        "[request id: r] input byte size mismatch for input 'A' for model 'adder'. Expected 16, "
        "got 12",
    ),
    "an input that is missing": (
        Request("adder", {"A": AB["A"]}, request_id="r"),
        "INVALID_ARGUMENT",
        "[request id: r] expected 2 inputs but got 1 inputs for model 'adder'. Got input(s) ['A'], "
        "but missing required input(s) ['B']. Please provide all required input(s).",
    ),
    "an input without its bytes": (
        Request("adder", [Input("A", AB["A"]), Input("B", shape=[1, 4], datatype="FP32")]),
        "INVALID_ARGUMENT",
        "unable to find data for input tensor 'B' for model 'adder' in request.",
    ),
    "an unknown input": (
        Request("adder", AB | {"C": AB["A"]}),
        "INVALID_ARGUMENT",
        "unexpected inference input 'C' for model 'adder'",
    ),
    "a state as an input": (
        of_a_sequence("sum_fp32", X | {"h": ONE}),
        "INVALID_ARGUMENT",
        "unexpected inference input 'h' for model 'sum_fp32'",
    ),
    "an unknown output": (
        Request("adder", AB, outputs=["PRODUCT"]),
        "INVALID_ARGUMENT",
        "unexpected inference output 'PRODUCT' for model 'adder'",
    ),
    "a state as an output": (
        of_a_sequence("sum_fp32", X, outputs=["hn"]),
        "INVALID_ARGUMENT",
        "unexpected inference output 'hn' for model 'sum_fp32'",
    ),
    "more rows than max_batch_size": (
        Request("adder", {name: np.ones((9, 4), np.float32) for name in AB}, request_id="r"),
        "INVALID_ARGUMENT",
        "[request id: r] inference request batch-size must be <= 8 for 'adder'",
    ),
    "no time": (
        of_a_sequence("sum_fp32", X, timeout=1),
        "UNAVAILABLE",
        "timeout of the corresponding sequence has been expired",
    ),
    "a priority": (
        Request("adder", AB, priority=1),
        "UNIMPLEMENTED",
        "requests have no priorities here",
    ),
    "shared memory": (
        Request(
            "adder",
            [Input("A", shape=[1, 4], datatype="FP32", region=Region("r", 16)), AB_B],
        ),
        "UNIMPLEMENTED",
        "shared memory is not offered",
    ),
    "an output in shared memory": (
        Request("adder", AB, outputs=[Output("SUM", region=Region("r", 16))]),
        "UNIMPLEMENTED",
        "'shared_memory_",
    ),
    "a classification": (
        Request("adder", AB, outputs=[Output("SUM", class_count=2)]),
        "UNIMPLEMENTED",
        "'classification' of an output is not offered",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_request_is_refused_in_tritons_words_and_nobody_is_harmed(peer, case):
    request, code, text = REFUSED[case]
    peer.infer(of_a_sequence("sum_fp32", X, 77))
    with pytest.raises(PeerError) as error:
        peer.infer(request)
    assert (error.value.code, error.value.message[: len(text)]) == (code, text)
    more = Request("sum_fp32", X, sequence_id=77, sequence_end=True)
    refused, after = peer.stream_infer([request, more])
    assert isinstance(refused, PeerError)
    # On a stream it is a sentence in its place, and the stream goes on.
    assert (refused.code, refused.message[: len(text)]) == (None, text)
    assert after.outputs["y"].item() == 2


def test_who_asks_for_it_gets_a_streams_first_error_as_its_status(peer):
    request, code, text = REFUSED["a type"]
    with peer.stream(headers={"triton_grpc_error": "true"}) as stream:
        stream.send(request)
        (refused,) = stream.collect(1)
    assert (refused.code, refused.message) == (code, text)


def test_what_has_ended_is_told_from_what_never_began(peer, triton_server):
    def refused() -> str:
        with pytest.raises(PeerError) as error:
            peer.infer(Request("hasty", X, sequence_id=31))
        assert error.value.code == "INVALID_ARGUMENT"
        return error.value.message

    sentence = (
        "inference request for sequence 31 to model 'hasty' must specify the START flag on the "
        "first request of the sequence"
    )
    assert refused() == f"{sentence}; it has not started here"
    peer.infer(of_a_sequence("hasty", X, 31, sequence_end=True))
    assert refused() == f"{sentence}; it has ended (closed)"
    peer.infer(of_a_sequence("hasty", X, 31))
    ended = 'rnnserve_sessions_ended_total{cause="idle",model="hasty"}'
    while not triton_server.metrics().get(ended):
        pass
    assert refused() == f"{sentence}; it has ended (idle)"


def test_a_full_queue_refuses_what_comes_next(peer):
    outcomes = peer.async_infer([Request("queued", X, request_id=f"r{n}") for n in range(12)])
    answered = [outcome for outcome in outcomes if isinstance(outcome, Answer)]
    assert answered
    assert len(answered) < len(outcomes)
    assert all(answer.outputs["y"].item() == 1 for answer in answered)
    for number, outcome in enumerate(outcomes):
        if isinstance(outcome, PeerError):
            wanted = "UNAVAILABLE", f"[request id: r{number}] Exceeds maximum queue size"
            assert (outcome.code, outcome.message) == wanted


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("get_system_shared_memory_status", {}),
        ("register_system_shared_memory", {"name": "r", "key": "/r", "byte_size": 16}),
        ("unregister_system_shared_memory", {"name": "r"}),
        ("get_cuda_shared_memory_status", {}),
        ("unregister_cuda_shared_memory", {"name": "r"}),
        ("get_trace_settings", {}),
        ("update_trace_settings", {"settings": {"trace_rate": "1"}}),
        ("get_log_settings", {}),
        ("update_log_settings", {"settings": {"log_verbose_level": 1}}),
    ],
)
def test_calls_that_make_no_sense_here_say_so(peer, method, arguments):
    with pytest.raises(PeerError, match="are not offered here") as error:
        peer.call(method, **arguments)
    assert error.value.code == "UNIMPLEMENTED"


@contextmanager
def stopping(repository: Path, *options: str) -> Iterator[tuple[ServerProcess, TritonPeer]]:
    """A server that will be stopped, with one sequence of the accumulator under way."""
    tiny.publish(repository, [tiny.accumulator(), tiny.adder()])
    with ServerProcess(repository, *options) as server, TritonPeer(server.target) as peer:
        peer.infer(of_a_sequence("sum_fp32", X, 1))
        yield server, peer


def test_a_stopping_server_takes_no_new_sequences_and_finishes_those_it_has(tmp_path):
    with stopping(tmp_path) as (server, peer), peer.stream() as stream:
        stream.send(Request("sum_fp32", X, sequence_id=1))
        assert stream.collect(1)[0].outputs["y"].item() == 2
        server.signal(signal.SIGTERM)
        while peer.is_server_ready():
            pass
        stream.send(
            of_a_sequence("sum_fp32", X, 2),
            Request("sum_fp32", X, sequence_id=1),
            Request("sum_fp32", X, sequence_id=1, sequence_end=True),
        )
        refused, going_on, last = stream.collect(3)
        assert refused.message == (
            "Server is stopping, scheduler for model has stopped accepting new inference requests"
        )
        assert [answer.outputs["y"].item() for answer in (going_on, last)] == [3, 4]
        assert server.process.wait(20) == 0


def test_a_stream_is_told_when_the_servers_patience_ends(tmp_path):
    with stopping(tmp_path, "--grace-s", "0.3") as (server, peer), peer.stream() as stream:
        stream.send(Request("sum_fp32", X, sequence_id=1))
        stream.collect(1)
        server.signal(signal.SIGTERM)
        (cut,) = stream.collect(1)
        assert (cut.code, cut.message) == (
            "UNAVAILABLE",
            "GRPC server is shutting down and has stopped accepting new requests.",
        )
        assert server.process.wait(20) == 0
