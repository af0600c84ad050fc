"""Models come, are replaced and go while the server runs; sessions finish where they began."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest

from rnnserve.engine.audit import audit
from rnnserve.engine.backlog import Backlog, BacklogLimits
from rnnserve.engine.engine import Engine
from rnnserve.engine.session import SessionLimits
from rnnserve.engine.table import Entry, TableLimits
from rnnserve.errors import ModelProblem, OperatorError, Reason, Refusal
from rnnserve.ops.hosting import Hosting
from rnnserve.ops.loading import Loader
from rnnserve.ops.metrics import Metrics
from rnnserve.repository.footprint import footprint
from rnnserve.settings import ServeSettings
from rnnserve.wire.inference.repository import State
from tiny_models import accumulator, adder, publish


class House:
    """A hosting with its engine, on a repository of the test's."""

    def __init__(self, repository: Path, **settings) -> None:
        self.repository = repository
        self.executor = ThreadPoolExecutor(1)
        made = ServeSettings(repository=repository, model_control=True, max_batch=4, **settings)
        metrics, backlog = Metrics(), Backlog(BacklogLimits())
        loader = Loader(made, backlog, metrics, self.executor)
        self.hosting = Hosting(made, loader, metrics)
        self.engine = Engine(
            self.hosting.load_all(),
            table=TableLimits(),
            sessions=SessionLimits(),
            backlog=backlog,
            meter=metrics,
        )

    def states(self) -> dict[tuple[str, int], State]:
        return {(entry.name, entry.version): entry.state for entry in self.hosting.index()}

    async def step(self, entry: Entry, x: float) -> float:
        """One step of a session of the accumulator."""
        told: asyncio.Future = asyncio.get_running_loop().create_future()
        session = entry.session
        memory = (np.array([x], np.float32).tobytes(),)
        entry.model.submit(session, session.admitted, memory, told.set_result, self.engine.now_s())
        chunk = await told
        return float(np.frombuffer(chunk.answer[0], np.float32)[0])


@asynccontextmanager
async def house(repository: Path, **settings) -> AsyncIterator[House]:
    made = House(repository, **settings)
    made.hosting.start(made.engine)
    try:
        yield made
        assert audit(made.engine).problems == ()
    finally:
        await made.hosting.stop()
        made.executor.shutdown()


@pytest.fixture
def repository(tmp_path) -> Path:
    publish(tmp_path, [accumulator("FP32", name="sum"), adder()])
    return tmp_path


def add_version(repository: Path, version: int, name: str = "sum") -> None:
    shutil.copytree(repository / name / "1", repository / name / str(version))


def damage(repository: Path, version: int, name: str = "sum") -> None:
    (repository / name / str(version) / "model.onnx").write_bytes(b"nonsense")


def say(repository: Path, text: str, name: str = "sum") -> None:
    config = repository / name / "config.pbtxt"
    config.write_text(config.read_text() + text)


async def test_a_broken_model_leaves_the_others_serving_and_is_told(repository):
    damage(repository, 1)
    async with house(repository) as here:
        assert here.engine.served.names() == ["adder"]
        assert here.states() == {("adder", 1): State.READY, ("sum", 1): State.UNAVAILABLE}
        (broken,) = here.hosting.broken()
        assert (broken.name, broken.version) == ("sum", 1)
        assert "no ONNX model" in broken.problem


def test_a_repository_in_which_nothing_can_be_served_is_the_operators_problem(tmp_path):
    with pytest.raises(OperatorError, match="no model repository"):
        House(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    made = ServeSettings(repository=tmp_path)
    loader = Loader(made, Backlog(BacklogLimits()), Metrics(), ThreadPoolExecutor(1))
    with pytest.raises(OperatorError, match="has no version"):
        Hosting(made, loader, Metrics()).load_all()


@pytest.mark.parametrize(
    ("policy", "served"),
    [
        ("", [10]),
        ("version_policy: { latest { num_versions: 2 } }", [2, 10]),
        ("version_policy: { all { } }", [1, 2, 10]),
        ("version_policy: { specific { versions: [ 1, 10 ] } }", [1, 10]),
    ],
)
async def test_those_versions_are_served_that_the_policy_names(repository, policy, served):
    for version in (2, 10):
        add_version(repository, version)
    say(repository, policy)
    async with house(repository) as here:
        assert here.engine.served.versions("sum") == served
        assert here.engine.model("sum").spec.version == max(served)
        assert here.engine.model("sum", served[0]).spec.version == served[0]
        with pytest.raises(Refusal):
            here.engine.model("sum", 3)


async def test_a_policy_that_names_a_missing_version_stops_that_model_by_its_field(repository):
    say(repository, "version_policy: { specific { versions: [ 4 ] } }")
    async with house(repository) as here:
        (broken,) = here.hosting.broken()
        assert "version_policy" in broken.problem


async def test_a_replaced_version_finishes_its_sessions_and_takes_no_new_ones(repository):
    async with house(repository) as here:
        old = here.engine.open(here.engine.model("sum"))
        assert await here.step(old, 1.0) == 1
        add_version(repository, 2)
        await here.hosting.load("sum")
        new = here.engine.open(here.engine.model("sum"))
        assert (old.model.spec.version, new.model.spec.version) == (1, 2)
        assert await here.step(old, 2.0) == 3
        assert await here.step(new, 5.0) == 5
        here.hosting.retire()
        assert here.engine.served.retiring == (old.model,)
        here.engine.close(old, lambda _: None)
        here.hosting.retire()
        assert here.engine.served.retiring == ()
        assert await here.step(new, 1.0) == 6


async def test_the_same_version_loaded_again_is_another_one_for_new_sessions_alone(repository):
    async with house(repository) as here:
        old = here.engine.open(here.engine.model("sum"))
        await here.hosting.load("sum")
        new = here.engine.open(here.engine.model("sum"))
        assert old.model is not new.model
        assert await here.step(old, 1.0) == await here.step(new, 1.0) == 1


async def test_a_version_that_cannot_be_loaded_leaves_the_one_that_is_served(repository):
    async with house(repository) as here:
        session = here.engine.open(here.engine.model("sum"))
        add_version(repository, 2)
        damage(repository, 2)
        with pytest.raises(Refusal) as error:
            await here.hosting.load("sum")
        assert error.value.reason is Reason.MODEL_NOT_READY
        assert "version 2" in error.value.message
        assert here.engine.served.versions("sum") == [1]
        assert await here.step(session, 1.0) == 1
        assert here.states()["sum", 2] is State.UNAVAILABLE


async def test_a_reload_that_fails_in_part_leaves_every_version_that_was_served(repository):
    add_version(repository, 2)
    say(repository, "version_policy: { all { } }")
    async with house(repository) as here:
        damage(repository, 1)
        with pytest.raises(Refusal) as error:
            await here.hosting.load("sum")
        assert "version 1" in error.value.message
        assert here.engine.served.versions("sum") == [1, 2]
        told = {entry.version: entry for entry in here.hosting.index() if entry.name == "sum"}
        assert {entry.state for entry in told.values()} == {State.READY}
        assert "failed" in told[1].reason
        (broken,) = here.hosting.broken()
        assert (broken.version, broken.problem) == (1, told[1].reason)
        (repository / "sum" / "config.pbtxt").write_text("nonsense {")
        with pytest.raises(Refusal):
            await here.hosting.load("sum")
        assert here.engine.served.versions("sum") == [1, 2]


async def test_a_load_whose_caller_has_gone_comes_to_its_end(repository):
    async with house(repository) as here:
        add_version(repository, 2)
        task = asyncio.create_task(here.hosting.load("sum"))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await here.hosting.load("sum")
        assert here.engine.served.versions("sum") == [2]
        assert {entry.state for entry in here.hosting.index()} == {State.READY}


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: say(folder, "sequence_batching { control_input { control { kind: 9 } } }"),
        lambda folder: say(
            folder,
            'parameters { key: "constant.z" value { string_value: "' + "[" * 9000 + '" } }',
        ),
        lambda folder: (folder / "sum").rename(folder / "no name"),
        lambda folder: os.rename(os.fsencode(folder / "sum"), os.fsencode(folder) + b"/bad\xff"),
        lambda folder: (
            (folder / "sum" / "config.pbtxt").unlink(),
            os.mkfifo(folder / "sum" / "config.pbtxt"),
        ),
        lambda folder: shutil.rmtree(folder / "sum" / "1"),
    ],
)
async def test_whatever_a_folder_holds_it_stops_no_other_model(repository, spoil):
    spoil(repository)
    async with house(repository) as here:
        assert here.engine.served.names() == ["adder"]
        (broken,) = here.hosting.broken()
        # It has to fit into a message.
        assert (broken.name + broken.problem).encode()


async def test_an_unloaded_model_takes_no_new_sessions_until_it_is_loaded_again(repository):
    async with house(repository) as here:
        session = here.engine.open(here.engine.model("sum"))
        await here.hosting.unload("sum")
        assert here.engine.served.names() == ["adder"]
        assert here.states()["sum", 1] is State.UNAVAILABLE
        assert here.hosting.broken() == []
        assert await here.step(session, 1.0) == 1
        await here.hosting.load("sum")
        assert here.engine.served.versions("sum") == [1]


async def test_a_model_that_is_not_there_is_neither_loaded_nor_unloaded(repository):
    async with house(repository) as here:
        for call in (here.hosting.load, here.hosting.unload):
            with pytest.raises(Refusal) as error:
                await call("nobody")
            assert error.value.reason is Reason.UNKNOWN_MODEL


async def test_a_model_that_came_later_is_served_when_it_is_loaded(repository):
    async with house(repository) as here:
        publish(repository, [accumulator("FP32", name="late")])
        await here.hosting.load("late")
        session = here.engine.open(here.engine.model("late"))
        assert await here.step(session, 2.0) == 2


async def test_clients_may_not_control_models_unless_the_server_says_so(repository):
    async with house(repository) as here:
        here.hosting._settings = ServeSettings(repository=repository)
        for call in (here.hosting.load, here.hosting.unload):
            with pytest.raises(Refusal) as error:
                await call("sum")
            assert error.value.reason is Reason.NOT_OFFERED


async def test_a_model_whose_carry_has_no_room_is_told_so(repository):
    async with house(repository, max_carry_bytes=1) as here:
        assert here.engine.served.names() == ["adder"]
        (broken,) = here.hosting.broken()
        assert "--max-carry-bytes" in broken.problem


async def follow(here: House, name: str = "sum") -> None:
    await here.hosting.follow(name, footprint(here.repository / name))


async def test_following_loads_what_has_changed_and_nothing_else(repository):
    say(repository, "version_policy: { all { } }")
    async with house(repository) as here:
        first = here.engine.model("sum", 1)
        add_version(repository, 2)
        await follow(here)
        assert here.engine.served.versions("sum") == [1, 2]
        assert here.engine.model("sum", 1) is first
        shutil.rmtree(repository / "sum" / "1")
        await follow(here)
        assert here.engine.served.versions("sum") == [2]
        assert here.engine.served.retiring == (first,)


async def test_following_a_broken_version_tells_it_and_keeps_the_good_one(repository):
    async with house(repository) as here:
        good = here.engine.model("sum")
        add_version(repository, 2)
        damage(repository, 2)
        await follow(here)
        assert here.engine.model("sum") is good
        (broken,) = here.hosting.broken()
        assert (broken.name, broken.version) == ("sum", 2)
        shutil.copy(repository / "sum" / "1" / "model.onnx", repository / "sum" / "2")
        await follow(here)
        assert here.engine.model("sum").spec.version == 2
        assert here.hosting.broken() == []


async def test_what_failed_for_reasons_outside_the_folder_is_tried_again(repository, monkeypatch):
    async with house(repository) as here:
        good = here.engine.model("sum")
        add_version(repository, 2)
        with monkeypatch.context() as away:
            away.setattr(here.hosting._loader, "load", _unreadable)
            await follow(here)
        assert here.hosting.ailing() == {"sum"}
        await follow(here)
        assert here.hosting.ailing() == set()
        assert here.engine.model("sum").spec.version == 2
        assert here.engine.served.retiring == (good,)


async def test_a_model_that_is_gone_leaves_no_series_and_what_is_told_late_harms_nobody(repository):
    async with house(repository) as here:
        metrics = here.hosting._metrics
        before = series(metrics)
        for name in ("first", "second"):
            publish(repository, [accumulator("FP32", name=name)])
            await here.hosting.follow(name, footprint(repository / name))
            session = here.engine.open(here.engine.model(name))
            await here.step(session, 1.0)
            assert len(series(metrics)) > len(before)
            await here.hosting.forget(name)
            here.engine.close(session, lambda _: None)
            here.hosting.retire()
            metrics.replied(name, 1, 0.1)
            metrics.first_token(name, 0.1)
            metrics.more_tokens(name, 1, 0.1)
            assert series(metrics) == before


def _unreadable(name: str, version: int) -> NoReturn:
    raise ModelProblem("the disk is away")


def series(metrics: Metrics) -> set[tuple[str, ...]]:
    return {
        (sample.name, *sample.labels.values())
        for family in metrics.registry.collect()
        for sample in family.samples
    }


async def test_an_older_version_comes_back_where_the_newest_is_taken_away(repository):
    add_version(repository, 2)
    async with house(repository) as here:
        assert here.engine.served.versions("sum") == [2]
        shutil.rmtree(repository / "sum" / "2")
        await follow(here)
        assert here.engine.served.versions("sum") == [1]


async def test_a_model_that_is_forgotten_finishes_its_sessions_and_is_not_told_of(repository):
    async with house(repository) as here:
        session = here.engine.open(here.engine.model("sum"))
        await here.hosting.forget("sum")
        assert here.states() == {("adder", 1): State.READY}
        assert await here.step(session, 1.0) == 1
        with pytest.raises(Refusal):
            here.engine.model("sum")
