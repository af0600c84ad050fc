"""The real perf_analyzer, unchanged: it puts load on sequence models, meets no error, reads right
answers, and counts what the server counts."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

import tiny_folders as folders
import tiny_models as tiny
from peers.perf_analyzer import Level, Profile, profile
from peers.triton_peer import TritonPeer
from server_process import ServerProcess

WINDOW_MS = 200
WAYS = {"unary": (), "streaming": ("--streaming",)}
ways = pytest.mark.parametrize("way", WAYS)


@dataclass(frozen=True)
class House:
    """A server, and tritonclient to ask it for its statistics."""

    server: ServerProcess
    peer: TritonPeer


@pytest.fixture(scope="module")
def triton(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """With no sequences but those of perf_analyzer, which numbers its own from 1."""
    folder = tmp_path_factory.mktemp("loaded")
    tiny.publish(folder, [*tiny.all_of_them(), folders.stacked()])
    with ServerProcess(folder, "--grace-s", "0.2") as server:
        with TritonPeer(server.target) as peer:
            yield House(server, peer)
        assert server.stop() == 0


@pytest.fixture(scope="module")
def exported(server: ServerProcess) -> Iterator[House]:
    with TritonPeer(server.target) as peer:
        yield House(server, peer)


@dataclass(frozen=True)
class Growth:
    """By how much the server's counts grew while a profile was made."""

    steps: int
    requests: int
    opened: int
    ended: int
    open: int
    errors: int
    told: int
    """Of these, what ModelStatistics says were inferences."""


def counts(house: House, model: str) -> Growth:
    found = house.server.metrics()

    def all_of(name: str, label: str = f'model="{model}"') -> int:
        return sum(
            int(value)
            for key, value in found.items()
            if key.startswith(f"rnnserve_{name}{{") and label in key
        )

    (statistics,) = house.peer.get_inference_statistics(model).model_stats
    return Growth(
        all_of("steps_total"),
        all_of("step_seconds_count"),
        all_of("sessions_opened_total"),
        all_of("sessions_ended_total"),
        all_of("sessions"),
        all_of("errors_total", ""),
        statistics.inference_count,
    )


def measured(house: House, model: str, *arguments: str) -> tuple[Profile, Growth]:
    """A profile in which nothing went wrong, and how the server's counts grew."""
    before = counts(house, model)
    done = profile(house.server.target, model, *arguments, window_ms=WINDOW_MS)
    after = counts(house, model)
    assert (done.status, done.errors) == (0, ()), done.output
    assert done.levels, done.output
    grown = {name: value - getattr(before, name) for name, value in vars(after).items()}
    return done, Growth(**grown)


def check_counts(level: Level, growth: Growth, in_flight: int) -> None:
    """perf_analyzer counts what lies in its windows. Their edges, and what it sends before the
    first and after the last, are each sequence's last requests and a fifth of a second."""
    slack = 4 * in_flight + 10 + 0.2 * level.inferences_per_s
    asked, answered = level.counts["Request count"], level.counts["Successful request count"]
    assert asked > 0
    assert abs(asked - answered) <= slack
    assert answered <= growth.requests <= answered + slack
    assert level.counts["Inference count"] <= growth.told <= level.counts["Inference count"] + slack
    assert level.counts["Execution count"] <= level.counts["Inference count"]
    assert growth.errors == 0


def check_sequences(level: Level, growth: Growth, in_flight: int) -> None:
    """Every sequence that began has ended, and both sides counted the same steps."""
    assert growth.steps == growth.requests == growth.told
    assert growth.opened == growth.ended > 0
    assert growth.open == 0
    assert level.counts["Sequence count"] <= growth.opened + in_flight


@ways
@pytest.mark.parametrize("load", [1, 16, 64])
def test_concurrent_sequences_are_served_without_an_error(triton, way, load):
    concurrency = ("--concurrency-range", str(load))
    done, growth = measured(triton, "sum_fp32", *concurrency, *WAYS[way])
    check_counts(done.levels[load], growth, load)
    check_sequences(done.levels[load], growth, load)


@ways
def test_sequences_at_a_rate_keep_their_order(triton, way):
    rate = ("--request-rate-range", "200", "--serial-sequences", "--num-of-sequences", "8")
    done, growth = measured(triton, "sum_fp32", *rate, *WAYS[way])
    check_counts(done.levels[200], growth, 8)
    check_sequences(done.levels[200], growth, 8)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--concurrency-range", "16"),
        ("--concurrency-range", "16", "--streaming"),
        ("--concurrency-range", "4", "--sync"),
        ("--request-rate-range", "200", "--serial-sequences", "--num-of-sequences", "8"),
    ],
    ids=["unary", "streaming", "sync", "rate"],
)
def test_every_answer_under_load_is_its_own_sequences(triton, arguments, tmp_path):
    """Each sequence begins with a number of its own and goes on with zeros, so that its every
    answer is that number; with the END that perf_analyzer adds at the end, too."""
    data = sequences_of(tmp_path, {5: 7, 10: 10, 20: 5})
    measured(triton, "sum_fp32", *arguments, "--input-data", data)


def test_a_wrong_answer_would_be_seen(triton, tmp_path):
    data = sequences_of(tmp_path, {5: 7}, wrong_by=1)
    arguments = ("--concurrency-range", "2", "--streaming", "--input-data", data)
    done = profile(triton.server.target, "sum_fp32", *arguments)
    assert done.status != 0
    assert "Output doesn't match expected output" in done.errors


def sequences_of(folder: Path, lengths: Mapping[int, int], wrong_by: int = 0) -> str:
    """A file of perf_analyzer's: the values with which sequences begin, and how long they are."""
    steps = [[float(value)] + [0.0] * (length - 1) for value, length in lengths.items()]
    answers = [[float(value + wrong_by)] * length for value, length in lengths.items()]
    text = json.dumps(
        {
            "data": [[{"x": [x]} for x in sequence] for sequence in steps],
            "validation_data": [[{"y": [y]} for y in sequence] for sequence in answers],
        }
    )
    (folder / "sequences.json").write_text(text)
    return str(folder / "sequences.json")


def test_one_level_after_another_leaves_nothing_of_the_first(triton):
    done, growth = measured(triton, "sum_int64", "--concurrency-range", "2:10:8", "--streaming")
    assert sorted(done.levels) == [2, 10]
    assert (growth.open, growth.opened) == (0, growth.ended)


@pytest.mark.parametrize(
    ("model", "more"),
    [
        ("marked", ()),
        ("counting", ()),
        ("reshaped", ()),
        ("stacked", ()),
        ("unbatched", ()),
        ("remembering", ("--shape", "x:3")),
        ("scaled", ("--input-data", "zero")),
        ("timed", ("--shape", "x:4,1")),
    ],
)
def test_whatever_a_sequence_model_is_made_of(triton, model, more):
    arguments = ("--concurrency-range", "4", "--streaming", *more)
    done, growth = measured(triton, model, *arguments)
    assert done.levels[4].counts["Request count"] > 0
    assert (growth.open, growth.opened) == (0, growth.ended)


@ways
def test_requests_that_stand_alone_may_have_several_rows(triton, way):
    arguments = ("--concurrency-range", "8", "-b", "4", *WAYS[way])
    if way == "streaming":
        arguments += ("--async",)
    done, growth = measured(triton, "adder", *arguments)
    assert growth.told == 4 * growth.requests
    check_counts(done.levels[8], growth, 8 * 4)


@ways
def test_an_exported_model_is_loaded_like_any_other(exported, way):
    tokens = ("--shape", "tokens:3", "--input-data", "zero")
    done, growth = measured(exported, "gru2", "--concurrency-range", "16", *tokens, *WAYS[way])
    check_counts(done.levels[16], growth, 16)
    assert growth.steps == 3 * growth.requests
    assert (growth.open, growth.opened) == (0, growth.ended)


def test_a_range_of_numbers_is_used_again_and_again(triton):
    numbers = ("--sequence-id-range", "1000:1100", "--sequence-length", "5")
    done, growth = measured(triton, "sum_fp32", "--concurrency-range", "8", "--streaming", *numbers)
    assert done.levels[8].counts["Sequence count"] > 100
    check_sequences(done.levels[8], growth, 8)
