"""Repositories of Triton's, read from disk and held against their graphs: what of them is served,
and what stops a model, by name."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import tiny_folders as folders
import tiny_models as tiny
from broken_folders import broken
from rnnserve.engine.runner import Runner
from rnnserve.engine.trial import costs_of, try_shapes
from rnnserve.errors import ModelProblem
from rnnserve.repository.spec import FREE, Mark, QueueSpec
from rnnserve.repository.tree import ModelVersion, read_version, wanted_versions

GOOD = [*tiny.all_of_them(), *folders.spelled()]
BROKEN = broken()


def load(repository: Path, name: str, version: int = 1) -> tuple[ModelVersion, Runner]:
    """Read a version, hold it against its graph and try it out, as the server does."""
    found = read_version(repository, name, version)
    runner = Runner(found.spec, found.graph)
    if found.spec.is_shaped:
        assert try_shapes(found.spec, runner.run)
    else:
        rows = min(4, found.spec.max_batch)
        costs_of(found.spec, runner.run, max_rows=rows, max_block_steps=4, max_block_s=1.0)
    return found, runner


def load_wanted(repository: Path, name: str) -> None:
    """Load the versions that the policy names."""
    for version in wanted_versions(repository, name):
        load(repository, name, version)


@pytest.mark.parametrize("model", GOOD, ids=[model.name for model in GOOD])
def test_it_is_served_as_it_lies_on_disk(model, tmp_path):
    model.write(tmp_path)
    found, _ = load(tmp_path, model.name)
    assert (found.spec.name, found.spec.version) == (model.name, 1)
    assert wanted_versions(tmp_path, model.name) == [1]


@pytest.mark.parametrize("model", folders.spelled(), ids=lambda model: model.name)
def test_however_it_is_written_it_sums(model, tmp_path):
    model.write(tmp_path)
    found, runner = load(tmp_path, model.name)
    carry = tuple(np.zeros((1, *entry.begins_as), entry.dtype) for entry in found.spec.carry)
    x = np.full((1, 1, *found.spec.inputs[0].shape), 1, np.float32)
    for total in (1, 2, 3):
        carry, (y,) = runner.run(carry, (x,))
        assert y.ravel().tolist() == [total]


@pytest.mark.parametrize(("model", "names"), BROKEN, ids=[model.name for model, _ in BROKEN])
def test_what_cannot_be_served_is_refused_by_name(model, names, tmp_path):
    model.write(tmp_path)
    with pytest.raises(ModelProblem) as problem:
        load_wanted(tmp_path, model.name)
    assert names in str(problem.value)
    assert str(tmp_path) not in str(problem.value)


def test_a_folder_without_a_version_says_so(tmp_path):
    tiny.adder().write(tmp_path)
    (tmp_path / "adder" / "1").rename(tmp_path / "adder" / "first")
    assert wanted_versions(tmp_path, "adder") == [0]
    with pytest.raises(ModelProblem, match="no version"):
        read_version(tmp_path, "adder", 0)


def test_a_version_without_its_graph_says_which_file(tmp_path):
    folders.elsewhere_named().write(tmp_path)
    (tmp_path / "elsewhere_named" / "1" / "sum.onnx").unlink()
    with pytest.raises(ModelProblem, match=r"elsewhere_named/1 has no file sum\.onnx"):
        read_version(tmp_path, "elsewhere_named", 1)


@pytest.mark.parametrize("is_there", [True, False])
def test_without_a_configuration_the_graph_says_it_all(is_there, tmp_path):
    replace(tiny.adder(), config="").write(tmp_path)
    if not is_there:
        (tmp_path / "adder" / "config.pbtxt").unlink()
    spec = load(tmp_path, "adder")[0].spec
    assert [(tensor.name, tensor.shape) for tensor in (*spec.inputs, *spec.outputs)] == [
        ("A", (4,)),
        ("B", (4,)),
        ("SUM", (4,)),
        ("DIFFERENCE", (4,)),
    ]
    assert (spec.is_sequential, spec.has_rows, spec.max_batch) == (False, True, 4)


# Versions.


@pytest.mark.parametrize(
    ("policy", "wanted"),
    [
        ("", [12]),
        ("version_policy { latest { num_versions: 2 } }", [5, 12]),
        ("version_policy: { latest: { num_versions: 9 } }", [1, 2, 5, 12]),
        ("version_policy: { all { } }", [1, 2, 5, 12]),
        ("version_policy: { specific: { versions: [ 5, 1 ] } }", [1, 5]),
        ("version_policy { specific { versions: 2 versions: 2 } }", [2]),
    ],
)
def test_the_policy_says_which_versions_are_served(policy, wanted, tmp_path):
    folders.versioned(tmp_path, "several", policy, (1, 2, 5, 12))
    (tmp_path / "several" / "notes").mkdir()
    (tmp_path / "several" / "007").mkdir()
    assert wanted_versions(tmp_path, "several") == wanted
    for version in wanted:
        _, runner = load(tmp_path, "several", version)
        _, (y,) = runner.run((), (np.ones((1, 1, 1), np.float32),))
        assert y.item() == 1 + version


# What is understood.


def test_a_state_begins_as_its_file_says_and_what_is_behind_it_is_left_out(tmp_path):
    model = tiny.accumulator("INT64", begins_with=40)
    behind = {path: data + b"and more" for path, data in model.files.items()}
    replace(model, files=behind).write(tmp_path)
    (entry,) = load(tmp_path, model.name)[0].spec.carry
    assert np.frombuffer(entry.initial, np.int64).tolist() == [40]


def test_a_state_that_grows_begins_with_one_of_what_is_free():
    (entry,) = tiny.remembering().spec.carry
    assert (entry.shape, entry.begins_as) == ((FREE,), (1,))


def test_states_keep_the_pairs_of_their_entries():
    found = {entry.input_name: entry.output_name for entry in folders.encoder().spec.carry}
    assert found == {
        "processed_lens": "lens_next",
        "cnn_cache": "next_cnn_cache",
        "attn_cache": "next_attn_cache",
    }
    found = {entry.input_name: entry.output_name for entry in tiny.counting().spec.carry}
    assert found == {
        "cache_last": "cache_last_next",
        "cache_last_len": "cache_last_len_next",
    }


def test_every_control_has_the_type_and_the_values_of_its_entry():
    controls = {control.mark: control for control in tiny.marked("INT32").spec.controls}
    told = {mark: (str(c.dtype), c.no, c.yes) for mark, c in controls.items()}
    assert told == {
        Mark.START: ("float32", -1, 1),
        Mark.END: ("bool", False, True),
        Mark.READY: ("int32", 0, 1),
        Mark.CORRID: ("int32", 0, 1),
    }


def test_a_queue_is_as_long_as_its_policy_says():
    assert folders.queued(3).spec.queue == QueueSpec(max_waiting=3)


@pytest.mark.parametrize("name", ["elsewhere", "memory_words", "directly"])
def test_what_changes_no_answer_is_taken_note_of_or_means_nothing_here(name, tmp_path):
    (model,) = [model for model in folders.spelled() if model.name == name]
    model.write(tmp_path)
    notes = " ".join(load(tmp_path, name)[0].config.notes)
    wanted = {
        "elsewhere": ("KIND_GPU", "one instance", "optimization", "intra_op_thread_count"),
        "directly": ("nothing is delayed",),
        "memory_words": (),
    }
    assert all(words in notes for words in wanted[name]), notes
