"""tritonclient, unchanged and in its own process: all its calls for what is served here."""

import numpy as np
import pytest

from e2e.triton_steps import start, statistics, step, y
from peers.inference import Answer, PeerError, Request
from peers.triton_peer import TritonPeer
from rnnserve.client import Client
from rnnserve.triton import model_config_pb2 as triton

X = {"x": np.ones((1, 1), np.float32)}


# Inference.


def test_a_reply_has_the_requests_id_and_the_version_that_answered(peer):
    response = peer.infer(start(1, request_id="mine", sequence_end=True)).response
    assert (response.id, response.model_name, response.model_version) == ("mine", "sum_fp32", "1")
    assert len(response.raw_output_contents) == len(response.outputs) == 1


def test_sequences_side_by_side_go_their_own_ways(peer):
    numbers = [*range(1, 20), *(f"s{number}" for number in range(20))]
    outcomes = peer.async_infer([start(n, place) for place, n in enumerate(numbers)])
    assert list(map(y, outcomes)) == list(range(len(numbers)))
    outcomes = peer.async_infer([step(n, sequence_end=True) for n in numbers])
    assert list(map(y, outcomes)) == [place + 1 for place in range(len(numbers))]


def test_a_stream_answers_in_the_order_of_its_requests_whatever_they_are(peer):
    """Sequences of several models side by side, requests that stand alone, and wrong ones."""
    lengths = {("sum_fp32", "a"): 9, ("sum_int64", 3): 7, ("sum_fp32", 3): 5, ("sum_fp16", 4): 8}
    requests, wanted = [], []
    for turn in range(max(lengths.values())):
        for (model, number), length in lengths.items():
            if turn >= length:
                continue
            more = {"sequence_start": turn == 0, "sequence_end": turn == length - 1}
            requests.append(step(number, turn, model, **more))
            wanted.append(sum(range(turn + 1)))
        requests.append(Request("several", X))
        wanted.append(6)
        requests.append(step("nobody"))
        wanted.append(None)
    found = peer.stream_infer(requests)
    assert [y(one) if isinstance(one, Answer) else None for one in found] == wanted


def test_replies_of_a_stream_are_final_and_have_their_requests_ids(peer):
    requests = [start(5, request_id="0"), *(step(5, request_id=str(n)) for n in range(1, 50))]
    found = peer.stream_infer(requests)
    assert [outcome.response.id for outcome in found] == [str(n) for n in range(50)]
    assert all(outcome.parameters["triton_final_response"] is True for outcome in found)
    assert list(map(y, found)) == list(range(1, 51))


def test_a_sequence_goes_on_from_one_way_of_asking_to_the_other(peer):
    assert y(peer.infer(start(6))) == 1
    assert list(map(y, peer.stream_infer([step(6), step(6)]))) == [2, 3]
    assert list(map(y, peer.async_infer([step(6)]))) == [4]
    assert y(peer.infer(step(6, sequence_end=True))) == 5


def test_several_streams_and_calls_share_the_server(peer, triton_server):
    with TritonPeer(triton_server.target) as other, other.stream() as stream:
        stream.send(start("other"), *(step("other") for _ in range(20)))
        mine = peer.stream_infer([start("mine", 10), *(step("mine", 10) for _ in range(20))])
        others = stream.collect(21)
    assert list(map(y, others)) == list(range(1, 22))
    assert list(map(y, mine)) == list(range(10, 220, 10))


def test_a_stream_that_is_cancelled_leaves_its_sequences_to_whoever_goes_on(peer):
    with peer.stream() as stream:
        stream.send(start("left"))
        assert y(stream.collect(1)[0]) == 1
        stream.stop(cancel_requests=True)
    assert y(peer.infer(step("left", sequence_end=True))) == 2


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_a_compressed_request_is_refused_as_such(peer, algorithm):
    """A small message would otherwise become a large one behind the check of its size."""
    with pytest.raises(
        PeerError, match=f"Compression algorithm '{algorithm}' is disabled"
    ) as error:
        peer.infer(start(9, options={"compression_algorithm": algorithm}))
    assert error.value.code == "UNIMPLEMENTED"


# What the server tells.


def test_the_server_and_its_models_are_live_and_ready(peer):
    assert peer.is_server_live()
    assert peer.is_server_ready()
    assert peer.is_model_ready("sum_fp32")
    assert peer.is_model_ready("several", "2")
    assert not peer.is_model_ready("wrong_dims", "1")
    with pytest.raises(PeerError, match="'nobody' is not found") as error:
        peer.is_model_ready("nobody")
    assert error.value.code == "NOT_FOUND"


def test_what_a_model_is_has_neither_states_nor_marks(peer):
    metadata = peer.get_model_metadata("marked_int32")
    assert [(t.name, t.datatype, list(t.shape)) for t in metadata.inputs] == [
        ("x", "FP32", [-1, 1])
    ]
    assert [t.name for t in metadata.outputs] == [
        "y",
        "start_was",
        "end_was",
        "ready_was",
        "id_was",
    ]
    assert (list(metadata.versions), metadata.platform) == (["1"], "onnxruntime_onnx")
    assert list(peer.get_model_metadata("several").versions) == ["1", "2", "5"]
    assert list(peer.get_model_metadata("several", "2").versions) == ["2"]


def test_a_configuration_is_the_files_with_what_it_leaves_out_filled_in(peer):
    config = peer.get_model_config("oldest_first").config
    batching = config.sequence_batching
    assert (config.name, config.max_batch_size) == ("oldest_first", 8)
    assert list(batching.oldest.preferred_batch_size) == [2, 4]
    assert [state.output_name for state in batching.state] == ["hn"]
    assert batching.max_sequence_idle_microseconds > 0
    assert config.version_policy.latest.num_versions == 1
    assert config.default_model_filename == "model.onnx"
    assert [entry.name for entry in config.input] == ["x"]
    assert config.input[0].data_type == triton.TYPE_FP32
    several = peer.get_model_config("several").config
    assert several.WhichOneof("scheduling_choice") == "dynamic_batching"
    assert several.version_policy.WhichOneof("policy_choice") == "all"


def test_the_extensions_are_those_that_work(peer):
    found = peer.get_server_metadata()
    assert found.name == "rnnserve"
    wanted = {"sequence", "model_repository", "model_configuration", "statistics"}
    assert wanted <= set(found.extensions)
    assert not {"system_shared_memory", "trace", "logging"} & set(found.extensions)


def test_statistics_grow_by_what_was_asked(peer):
    before = statistics(peer, "sum_int32")
    peer.stream_infer([start(1, 1, "sum_int32"), *(step(1, 1, "sum_int32") for _ in range(9))])
    with pytest.raises(PeerError):
        peer.infer(Request("sum_int32", X, sequence_id=1))
    after = statistics(peer, "sum_int32")
    assert after.inference_count - before.inference_count == 10
    grown = after.inference_stats.success.count - before.inference_stats.success.count
    assert grown == after.inference_stats.queue.count - before.inference_stats.queue.count == 10
    assert 0 < after.execution_count - before.execution_count <= 10
    assert after.last_inference > before.last_inference
    assert sum(batch.compute_infer.count for batch in after.batch_stats) == after.execution_count


def test_statistics_of_all_have_every_version(peer):
    found = {(one.name, one.version) for one in peer.get_inference_statistics().model_stats}
    ready = [one for one in peer.get_model_repository_index().models if one.state == "READY"]
    assert found == {(one.name, one.version) for one in ready}


# A model that the exporter made.


def test_an_exported_model_is_served_to_tritons_client(server):
    """Chunks in sequences give what the native API gives."""
    chunks = [[1, 2, 3], [4], [5, 6]]
    with Client(server.target) as client, client.open("lstm2") as session:
        wanted = [session.step(np.array(chunk)) for chunk in chunks]
    requests = [
        Request(
            "lstm2",
            {"tokens": np.array([chunk], np.int64)},
            sequence_id="t",
            sequence_start=place == 0,
            sequence_end=place == len(chunks) - 1,
        )
        for place, chunk in enumerate(chunks)
    ]
    with TritonPeer(server.target) as peer:
        found = peer.stream_infer(requests)
    for outcome, logits in zip(found, wanted, strict=True):
        assert isinstance(outcome, Answer), outcome
        np.testing.assert_allclose(outcome.outputs["logits"][0], logits, atol=1e-5)
