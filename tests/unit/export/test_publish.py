"""A version appears whole or not at all, whatever happens to the exporter or beside it."""

import errno
import os
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from rnnserve.errors import OperatorError
from rnnserve.repository.config import format_config
from rnnserve.repository.tree import model_names, read_version, versions, wanted_versions
from rnnserve_export.disk import HIDDEN_PREFIX, STALE_S, Disk
from rnnserve_export.errors import OtherInterface, PublishError
from rnnserve_export.graph import build_graph
from rnnserve_export.interface import model_spec
from rnnserve_export.publish import ModelFolder, publish
from rnnserve_models.tokenizer import character_tokenizer

from .conftest import LETTERS
from .faulty_disk import FaultyDisk, Killed

TOKENIZER_JSON = character_tokenizer(LETTERS).to_str().encode()


@pytest.fixture
def repository(tmp_path):
    return tmp_path / "repository"


@pytest.fixture(scope="session")
def spec(build_model):
    return model_spec(build_model("lstm"), "letters")


@pytest.fixture(scope="session")
def draw(build_model):
    """Files of the n-th of several models with one interface."""

    def files(number):
        graph = build_graph(build_model("lstm", seed=number))
        return {"model.onnx": graph, "tokenizer.json": TOKENIZER_JSON, "card.json": b"{}"}

    return files


def hidden(repository):
    return list(repository.rglob(f"{HIDDEN_PREFIX}*"))


def test_a_new_model_becomes_version_one_and_can_be_read(repository, spec, draw):
    published = publish(repository, spec, draw(1))
    read = read_version(repository, "letters", 1)
    assert (published.version, published.is_new) == (1, True)
    assert read.spec == spec
    assert read.graph == (published.folder / "model.onnx").read_bytes() == draw(1)["model.onnx"]
    assert read.tokenizer is not None
    assert read.card_json == "{}"
    assert hidden(repository) == []


def test_another_model_of_the_name_becomes_the_next_version(repository, spec, draw):
    publish(repository, spec, draw(1))
    (repository / "letters" / "7").mkdir()
    assert publish(repository, spec, draw(2)).version == 8
    assert read_version(repository, "letters", 1).graph == draw(1)["model.onnx"]
    assert read_version(repository, "letters", 8).graph == draw(2)["model.onnx"]


def test_the_same_model_again_publishes_nothing(repository, spec, draw):
    publish(repository, spec, draw(1))
    again = publish(repository, spec, draw(1) | {"card.json": b'{"other": 1}'})
    assert (again.version, again.is_new) == (1, False)
    assert versions(repository / "letters") == [1]


def test_force_publishes_the_same_model_again(repository, spec, draw):
    publish(repository, spec, draw(1))
    assert publish(repository, spec, draw(1), force=True).version == 2


def test_another_tokenizer_makes_another_version(repository, spec, draw):
    publish(repository, spec, draw(1))
    other = character_tokenizer(LETTERS.replace("j", "k")).to_str().encode()
    assert publish(repository, spec, draw(1) | {"tokenizer.json": other}).version == 2


def test_an_earlier_model_may_come_back_as_the_newest(repository, spec, draw):
    for number in (1, 2, 1):
        publish(repository, spec, draw(number))
    assert versions(repository / "letters") == [1, 2, 3]


def test_another_interface_is_refused_with_both_and_a_way_out(repository, spec, draw, build_model):
    publish(repository, spec, draw(1))
    other = model_spec(build_model("gru", hidden=9), "letters")
    with pytest.raises(OtherInterface) as refused:
        publish(repository, other, draw(1))
    for part in ("h0[6], c0[6]", "h0[9], h1[9]", "--name"):
        assert part in str(refused.value)
    assert isinstance(refused.value, OperatorError)
    assert versions(repository / "letters") == [1]
    assert hidden(repository) == []


def test_what_somebody_tuned_in_the_config_stays(repository, spec, draw):
    publish(repository, spec, draw(1))
    config = repository / "letters" / "config.pbtxt"
    tuned = config.read_text() + "# tuned\n"
    config.write_text(tuned)
    publish(repository, spec, draw(2))
    assert config.read_text() == tuned


def test_another_largest_batch_replaces_the_config(repository, spec, draw):
    publish(repository, spec, draw(1))
    publish(repository, replace(spec, max_batch=5), draw(2))
    assert read_version(repository, "letters", 2).spec.max_batch == 5
    assert read_version(repository, "letters", 1).spec.max_batch == 5


def test_a_folder_without_a_config_is_not_taken_over(repository, spec, draw):
    (repository / "letters").mkdir(parents=True)
    (repository / "letters" / "notes.txt").write_text("mine")
    with pytest.raises(PublishError, match=r"has no config\.pbtxt"):
        publish(repository, spec, draw(1))
    assert [path.name for path in (repository / "letters").iterdir()] == ["notes.txt"]


def test_a_config_that_cannot_be_read_stops_the_export(repository, spec, draw):
    publish(repository, spec, draw(1))
    (repository / "letters" / "config.pbtxt").write_text("nonsense {")
    with pytest.raises(PublishError, match="can't be read"):
        publish(repository, spec, draw(2))


def test_a_file_that_stands_under_the_next_number_is_stepped_over(repository, spec, draw):
    publish(repository, spec, draw(1))
    (repository / "letters" / "2").write_text("not a folder")
    assert publish(repository, spec, draw(2)).version == 3


def test_a_full_disk_is_told_in_one_sentence_and_leaves_nothing(repository, spec, draw):
    class FullDisk(Disk):
        def write(self, path, contents):
            if path.name == "model.onnx":
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            super().write(path, contents)

    with pytest.raises(PublishError, match="No space left"):
        publish(repository, spec, draw(1), disk=FullDisk())
    assert list(repository.iterdir()) == []


def test_a_kill_at_any_moment_leaves_no_model_or_the_whole_model(tmp_path, spec, draw):
    disk = FaultyDisk()
    publish(tmp_path / "whole", spec, draw(1), disk=disk)
    assert disk.operations.count("rename_folder") == 1
    seen = set()
    for lives in range(len(disk.operations)):
        repository = tmp_path / str(lives)
        with pytest.raises(Killed):
            publish(repository, spec, draw(1), disk=FaultyDisk(lives))
        names = model_names(repository)
        seen.add(len(names))
        for name in names:
            assert wanted_versions(repository, name) == [1]
            assert read_version(repository, name, 1).graph == draw(1)["model.onnx"]
        assert publish(repository, spec, draw(1)).version == 1
    assert seen == {0, 1}


def test_a_kill_at_any_moment_leaves_the_old_version_or_the_new(tmp_path, spec, draw):
    wider = replace(spec, max_batch=9)
    disk = FaultyDisk()
    publish(tmp_path / "whole", spec, draw(1))
    publish(tmp_path / "whole", wider, draw(2), disk=disk)
    old, new = (draw(number)["model.onnx"] for number in (1, 2))
    seen = set()
    for lives in range(len(disk.operations)):
        repository = tmp_path / str(lives)
        publish(repository, spec, draw(1))
        with pytest.raises(Killed):
            publish(repository, wider, draw(2), disk=FaultyDisk(lives))
        [name] = model_names(repository)
        [version] = wanted_versions(repository, name)
        read = read_version(repository, name, version)
        assert read.graph == (old if version == 1 else new)
        assert read.spec.max_batch in (spec.max_batch, wider.max_batch)
        assert set(os.listdir(repository / name / str(version))) == set(draw(1))
        seen.add(version)
        publish(repository, wider, draw(2))
        assert read_version(repository, name, 2).spec == replace(wider, version=2)
    assert seen == {1, 2}


def test_leftovers_are_removed_once_they_are_old(repository, spec, draw):
    publish(repository, spec, draw(1))
    for lives in (3, 6):
        with pytest.raises(Killed):
            publish(repository, spec, draw(2), disk=FaultyDisk(lives))
    leftovers = [path for path in hidden(repository) if path.parent.name == "letters"]
    assert len(leftovers) == 2
    old = time.time() - STALE_S - 10
    os.utime(leftovers[0], (old, old))
    publish(repository, spec, draw(3))
    assert [path.exists() for path in leftovers] == [False, True]


EXPORT_ALL = """
import sys
from pathlib import Path
from rnnserve.repository.config import parse_config
from rnnserve_export.publish import publish

repository, drafts = map(Path, sys.argv[1:])
spec = parse_config((drafts / "config.pbtxt").read_text(), "letters", version=1)
graphs = [path.read_bytes() for path in drafts.glob("*.onnx")]
print("ready", flush=True)
sys.stdin.readline()
for graph in graphs:
    publish(repository, spec, {"model.onnx": graph, "tokenizer.json": b"{}"}, force=True)
"""


def start_exporter(repository, drafts, spec, graphs):
    drafts.mkdir()
    (drafts / "config.pbtxt").write_text(format_config(spec))
    for number, graph in enumerate(graphs):
        (drafts / f"{number}.onnx").write_bytes(graph)
    return subprocess.Popen(
        [sys.executable, "-c", EXPORT_ALL, str(repository), str(drafts)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_exporters_that_run_at_once_each_get_their_versions(tmp_path, repository, spec, draw):
    graphs = [draw(number)["model.onnx"] for number in range(20)]
    folders = [tmp_path / "one", tmp_path / "two"]
    exporters = [
        start_exporter(repository, folder, spec, half)
        for folder, half in zip(folders, (graphs[:10], graphs[10:]), strict=True)
    ]
    for exporter in exporters:
        assert exporter.stdout.readline() == "ready\n"
    for exporter in exporters:
        exporter.stdin.write("go\n")
        exporter.stdin.flush()
    for exporter in exporters:
        exporter.communicate(timeout=600)
    assert [exporter.returncode for exporter in exporters] == [0, 0]
    assert versions(repository / "letters") == list(range(1, 21))
    folder = repository / "letters"
    published = [(folder / str(version) / "model.onnx").read_bytes() for version in range(1, 21)]
    assert sorted(published) == sorted(graphs)
    assert hidden(repository) == []


def test_an_exporter_that_comes_second_with_the_same_model_finds_it(repository, spec, draw):
    class SlowDisk(Disk):
        """Another export publishes the model while this one has only laid it out."""

        raced = False

        def rename_folder(self, source, target):
            if not self.raced:
                self.raced = True
                publish(repository, spec, draw(1))
            return super().rename_folder(source, target)

    published = publish(repository, spec, draw(1), disk=SlowDisk())
    assert (published.version, published.is_new) == (1, False)


def test_an_exporter_that_loses_the_race_for_a_number_takes_the_next(repository, spec, draw):
    publish(repository, spec, draw(1))

    class SlowDisk(Disk):
        raced = False

        def rename_folder(self, source, target):
            if not self.raced:
                self.raced = True
                publish(repository, spec, draw(2))
            return super().rename_folder(source, target)

    assert publish(repository, spec, draw(3), disk=SlowDisk()).version == 3
    assert read_version(repository, "letters", 2).graph == draw(2)["model.onnx"]


def test_readers_may_open_what_is_published(repository, spec, draw):
    before = os.umask(0o022)
    try:
        published = publish(repository, spec, draw(1))
    finally:
        os.umask(before)
    assert published.folder.stat().st_mode & 0o777 == 0o755
    assert (published.folder / "model.onnx").stat().st_mode & 0o777 == 0o644
    assert ModelFolder(repository, "letters").config.read_text() == format_config(spec)
