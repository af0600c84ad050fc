"""What is served follows the repository: not too early, not for nothing, never into nothing."""

import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnserve.ops.watch import Watch
from rnnserve.repository.footprint import Footprint, footprint, footprints


class Follower:
    """Believes what it is told, and keeps a diary."""

    def __init__(self, repository: Path) -> None:
        self.footprints = footprints(repository)
        self.diary: list[tuple[str, str]] = []
        self.ails: set[str] = set()

    def ailing(self) -> set[str]:
        return self.ails

    async def follow(self, name: str, now: Footprint) -> None:
        self.diary.append(("follow", name))
        self.footprints[name] = now

    async def forget(self, name: str) -> None:
        self.diary.append(("forget", name))
        del self.footprints[name]


def write(repository: Path, name: str, version: int = 1, content: str = "graph") -> Path:
    folder = repository / name / str(version)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_text(content)
    (repository / name / "config.pbtxt").touch()
    return folder


@pytest.fixture
def repository(tmp_path) -> Path:
    for name in ("a", "b"):
        write(tmp_path, name)
    return tmp_path


@pytest.fixture
def follower(repository) -> Follower:
    return Follower(repository)


@pytest.fixture
def watch(repository, follower) -> Watch:
    return Watch(repository, follower, poll_s=0.0)


async def test_nothing_is_followed_where_nothing_has_changed(watch, follower):
    for at_once in (False, True, False):
        await watch.look(at_once=at_once)
    assert follower.diary == []


async def test_a_change_is_followed_once_when_it_has_stood_still(watch, follower, repository):
    write(repository, "a", content="another")
    await watch.look(at_once=False)
    assert follower.diary == []
    write(repository, "a", content="still being written")
    await watch.look(at_once=False)
    assert follower.diary == []
    for _ in range(3):
        await watch.look(at_once=False)
    assert follower.diary == [("follow", "a")]


async def test_who_asks_is_not_kept_waiting(watch, follower, repository):
    write(repository, "c")
    shutil.rmtree(repository / "b")
    await watch.look(at_once=True)
    assert follower.diary == [("forget", "b"), ("follow", "c")]


async def test_a_model_that_is_gone_for_one_look_is_not_forgotten(watch, follower, repository):
    (repository / "b").rename(repository / ".b")
    await watch.look(at_once=False)
    (repository / ".b").rename(repository / "b")
    for _ in range(3):
        await watch.look(at_once=False)
    assert ("forget", "b") not in follower.diary


@pytest.mark.parametrize("emptied", [True, False])
async def test_a_disk_that_is_away_takes_nothing_with_it(
    watch, follower, repository, emptied, caplog
):
    away = repository.with_name("away")
    repository.rename(away)
    if emptied:
        repository.mkdir()
    for at_once in (False, False, True):
        await watch.look(at_once=at_once)
    assert follower.diary == []
    assert caplog.text.count("what is served stays") == 1
    if emptied:
        repository.rmdir()
    away.rename(repository)
    for _ in range(3):
        await watch.look(at_once=False)
    assert follower.diary == []


async def test_one_model_that_cannot_be_followed_is_tried_again_and_ends_nothing(
    repository, follower, caplog
):
    class Stubborn(Follower):
        async def follow(self, name: str, now: Footprint) -> None:
            await super().follow(name, now)
            self.footprints.pop(name)
            if len(self.diary) == 1:
                raise OSError("no")

    stubborn = Stubborn(repository)
    watch = Watch(repository, stubborn, 0.0)
    write(repository, "c")
    with pytest.raises(OSError, match="no"):
        await watch.look(at_once=True)
    await watch.look(at_once=True)
    assert stubborn.diary == [("follow", "c")] * 2


def test_files_in_work_are_not_looked_at(repository):
    before = footprints(repository)
    (repository / ".stage").mkdir()
    (repository / "a" / ".stage").mkdir()
    (repository / "a" / ".stage" / "model.onnx").touch()
    (repository / "a" / "1" / ".partial").touch()
    assert footprints(repository) == before


def test_a_link_that_is_swapped_is_a_change(tmp_path):
    for name in ("one", "two"):
        write(tmp_path, name)
    (tmp_path / "live").symlink_to("one")
    before = footprint(tmp_path / "live")
    (tmp_path / "next").symlink_to("two")
    (tmp_path / "next").rename(tmp_path / "live")
    assert footprint(tmp_path / "live").changed_versions(before) == {1}


@given(st.sets(st.integers(1, 6)), st.sets(st.integers(1, 6)), st.sets(st.integers(1, 6)))
def test_versions_have_changed_that_are_new_or_written_again(before, now, written):
    def made(versions: set[int], again: set[int] = frozenset()) -> Footprint:
        signs = {n: frozenset({("model.onnx", n, 1, int(n in again))}) for n in versions}
        return Footprint(frozenset(), signs)

    changed = made(now, written).changed_versions(made(before))
    assert changed == (now - before) | (now & before & written)


def test_all_versions_have_changed_where_their_configuration_has(repository):
    write(repository, "a", 2)
    before = footprint(repository / "a")
    (repository / "a" / "config.pbtxt").write_text("max_batch_size: 4")
    assert footprint(repository / "a").changed_versions(before) == {1, 2}


async def test_what_could_not_be_loaded_is_tried_again_by_who_asks_and_by_nobody_else(
    watch, follower
):
    follower.ails.add("a")
    for _ in range(3):
        await watch.look(at_once=False)
    assert follower.diary == []
    await watch.look(at_once=True)
    assert follower.diary == [("follow", "a")]
