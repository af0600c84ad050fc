"""One server behind both APIs, and the repository that Triton's clients may control."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import tiny_models as tiny
from e2e.triton_steps import start, statistics, step, y
from peers.inference import PeerError, Request
from peers.triton_peer import TritonPeer
from rnnserve.client import Client, ServerError
from server_process import ServerProcess


@contextmanager
def serving(repository: Path, *options: str) -> Iterator[tuple[ServerProcess, TritonPeer]]:
    """A server of the test's own."""
    with ServerProcess(repository, "--grace-s", "0.2", *options) as server:
        with TritonPeer(server.target) as peer:
            yield server, peer
        assert server.stop() == 0


# One house, two doors.


def test_both_apis_share_one_table_of_sessions(tmp_path):
    tiny.publish(tmp_path, [tiny.accumulator()])
    with (
        serving(tmp_path, "--max-sessions", "2") as (server, peer),
        Client(server.target) as client,
    ):
        peer.infer(start(1))
        with client.open("sum_fp32") as session:
            # Each has its own carry.
            assert session.step(np.full((1, 1), 5, np.float32)).tolist() == [[5]]
            assert y(peer.infer(step(1))) == 2
            assert client.audit().sessions == 2
            with pytest.raises(ServerError) as error, client.open("sum_fp32") as third:
                third.step(np.ones((1, 1), np.float32))
            assert error.value.reason == "too_many_sessions"
            with pytest.raises(PeerError, match="2 sessions are open; at most 2") as refused:
                peer.infer(start(2))
            assert refused.value.code == "UNAVAILABLE"
        assert y(peer.infer(start(2))) == 1
        for number in (1, 2):
            peer.infer(step(number, sequence_end=True))
        assert client.audit().sessions == 0
        assert client.audit().problems == ()


def test_both_apis_count_into_the_same_metrics_and_statistics(tmp_path):
    tiny.publish(tmp_path, [tiny.accumulator()])
    with serving(tmp_path) as (server, peer), Client(server.target) as client:
        peer.stream_infer([start(1), step(1), step(1, sequence_end=True)])
        peer.infer(start(2))
        with client.open("sum_fp32") as session:
            session.step(np.ones((4, 1), np.float32))
        with pytest.raises(PeerError):
            peer.infer(step("nobody"))
        found = server.metrics()
        assert found['rnnserve_steps_total{model="sum_fp32"}'] == 3 + 1 + 4
        assert found['rnnserve_sessions_opened_total{model="sum_fp32"}'] == 3
        assert found['rnnserve_sessions{model="sum_fp32"}'] == 1
        closed = 'rnnserve_sessions_ended_total{cause="closed",model="sum_fp32"}'
        assert found[closed] == 2
        errors = 'rnnserve_errors_total{fault="caller",reason="sequence_not_started"}'
        assert found[errors] == 1
        told = statistics(peer, "sum_fp32").inference_stats.success.count
        assert told == found['rnnserve_step_seconds_count{model="sum_fp32"}'] == 3 + 1 + 1


# The repository.


@pytest.fixture(scope="module")
def controlled(tmp_path_factory) -> Iterator[TritonPeer]:
    """A client that may load and unload."""
    repository = tmp_path_factory.mktemp("controlled")
    tiny.accumulator().write(repository)
    with serving(repository, "--model-control") as (_, peer):
        yield peer


def states(peer: TritonPeer) -> dict[tuple[str, str], str]:
    index = peer.get_model_repository_index().models
    return {(one.name, one.version): one.state for one in index}


def test_a_model_that_is_unloaded_finishes_its_sequences_and_comes_back(tmp_path):
    tiny.publish(tmp_path, [tiny.accumulator(), tiny.adder()])
    with serving(tmp_path, "--model-control") as (_, peer):
        peer.infer(start(1))
        peer.unload_model("sum_fp32")
        assert states(peer) == {("adder", "1"): "READY", ("sum_fp32", "1"): "UNAVAILABLE"}
        with pytest.raises(PeerError, match="'sum_fp32' has no available versions") as error:
            peer.infer(start(2))
        assert error.value.code == "NOT_FOUND"
        assert y(peer.infer(step(1))) == 2
        peer.load_model("sum_fp32")
        assert y(peer.infer(step(1, sequence_end=True))) == 3
        assert y(peer.infer(start(1, sequence_end=True))) == 1


def test_a_model_that_appears_is_loaded_and_a_damaged_one_says_what_is_wrong(tmp_path):
    tiny.publish(tmp_path, [tiny.accumulator()])
    with serving(tmp_path, "--model-control") as (_, peer):
        tiny.adder().write(tmp_path)
        assert not any(name == "adder" for name, _ in states(peer))
        peer.load_model("adder")
        assert peer.is_model_ready("adder")
        (tmp_path / "adder" / "config.pbtxt").write_text("max_batch_size: -1")
        with pytest.raises(PeerError) as error:
            peer.load_model("adder")
        assert error.value.code == "UNAVAILABLE"
        assert error.value.message.startswith("failed to load 'adder', version 1: config.pbtxt:")
        assert str(tmp_path) not in error.value.message
        # What was served goes on.
        ones = np.ones((1, 4), np.float32)
        assert peer.infer(Request("adder", {"A": ones, "B": ones})).outputs["SUM"][0, 0] == 2


def test_a_new_version_takes_new_sequences_and_the_old_ones_stay(tmp_path):
    tiny.accumulator().write(tmp_path)
    with serving(tmp_path, "--model-control") as (_, peer):
        peer.infer(start("old"))
        shutil.copytree(tmp_path / "sum_fp32" / "1", tmp_path / "sum_fp32" / "2")
        peer.load_model("sum_fp32")
        outcomes = peer.stream_infer([step("old"), start("new"), step("new"), step("old")])
        assert list(map(y, outcomes)) == [2, 1, 2, 3]
        versions = [outcome.response.model_version for outcome in outcomes]
        assert versions == ["1", "2", "2", "1"]


@pytest.mark.parametrize(
    ("method", "arguments", "code", "text"),
    [
        ("load_model", {"model_name": "nobody"}, "NOT_FOUND", "'nobody' is not found"),
        ("unload_model", {"model_name": "nobody"}, "NOT_FOUND", "'nobody' is not found"),
        (
            "load_model",
            {"model_name": "sum_fp32", "config": "{}"},
            "UNIMPLEMENTED",
            "['config'] are not offered",
        ),
        (
            "load_model",
            {"model_name": "sum_fp32", "config": "{}", "files": {"file:1/model.onnx": b"x"}},
            "UNIMPLEMENTED",
            "are not offered",
        ),
    ],
)
def test_what_a_repository_cannot_do_is_refused(controlled, method, arguments, code, text):
    with pytest.raises(PeerError) as error:
        controlled.call(method, **arguments)
    assert error.value.code == code
    assert text in error.value.message
    assert states(controlled) == {("sum_fp32", "1"): "READY"}


@pytest.mark.parametrize("method", ["load_model", "unload_model"])
def test_clients_control_models_only_where_they_may(peer, method):
    with pytest.raises(PeerError, match="--model-control lets them") as error:
        getattr(peer, method)("sum_fp32")
    assert error.value.code == "UNIMPLEMENTED"
