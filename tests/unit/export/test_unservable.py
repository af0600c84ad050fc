"""What can't be served as it is, is told what is wrong and what to do; nothing is published."""

import pytest
import torch

from rnnserve_export import export_module
from rnnserve_export.errors import ExportError, UnservableModule

from . import own_modules as own


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (own.looks_ahead, "depends on later steps"),
        (own.centres_its_window, "depends on later steps .* padded on both sides"),
        (own.forgets_its_window, "isn't all in the carry .* its last kernel - 1 inputs"),
        (own.mixes_rows, "among others than alone .* over axis 0"),
        (own.grows, r"'h' goes in as float32 \[2, 4\] and comes out as float32 \[2, 8\]"),
        (own.becomes_double, "comes out as float64"),
        (own.draws_lots, "other numbers the second time"),
        (own.remembers, "belongs into the carry"),
        (own.sums_up, r"'output' is float32 \[2, 4\] .* one answer for each step"),
        (own.takes_the_root, r"not a number .* ranges=\{NAME"),
        (own.wants_two_steps, "fails on 1 rows and 1 steps .* too short"),
    ],
    ids=lambda it: getattr(it, "__name__", ""),
)
def test_a_module_that_breaks_a_law_is_told_which_and_what_to_do(tmp_path, function, words):
    with pytest.raises(UnservableModule, match=words):
        own.exported(function, tmp_path / "repository")
    assert not (tmp_path / "repository").exists()


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (own.branches, r"values of a tensor \(own_modules.py, line \d+: .*torch.where"),
        (own.loops, "one number of steps only.*time=False"),
        (own.knows_its_rows, "one number of rows only"),
    ],
    ids=lambda it: getattr(it, "__name__", ""),
)
def test_a_module_that_torch_cannot_draw_is_told_what_to_do(tmp_path, capfd, function, words):
    with pytest.raises(UnservableModule, match=words):
        own.exported(function, tmp_path / "repository")
    assert not (tmp_path / "repository").exists()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"states": {}}, "states is empty.*rnnserve import"),
        ({"states": {"h": torch.ones(4)}}, "isn't all zeros"),
        ({"states": {"h": torch.zeros(0)}}, "must be a tensor with elements"),
        ({"states": {"g": torch.zeros(4)}}, "forward fails on the example: KeyError: 'h'"),
        ({"states": {"h": torch.zeros(4, dtype=torch.bfloat16)}}, "make it float32"),
        ({"states": {"h": torch.zeros(4), "g": torch.zeros(1)}}, r"with the states \['h', 'g'\]"),
        ({"outputs": ("h",)}, "'h' is the name of more than one tensor"),
        ({"outputs": ("a", "b")}, "returns 1 outputs, and 2 are named"),
        ({"outputs": ("two words",)}, "'two words' can't be the name"),
        ({"ranges": {"y": (0, 1)}}, r"ranges names \['y'\], and the inputs are \['x'\]"),
        ({"files": {"model.onnx": b""}}, "can't be the name of a file"),
        ({"name": "two words"}, "is no model name"),
    ],
)
def test_what_does_not_describe_the_module_is_refused_by_name(tmp_path, more, words):
    with pytest.raises(ExportError, match=words):
        own.exported(lambda module, h, x: (h, x), tmp_path, **more)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("examples", "words"),
    [
        (torch.zeros(4), r"'x' must be a tensor \(N, T, ...\)"),
        (torch.zeros(2, 3, 4, dtype=torch.int32), r"ranges=\{'x': \(LOW, HIGH\)\}"),
        ((own.READINGS, own.READINGS), r"2 example inputs, and forward names \['x'\]"),
        ({"readings": own.READINGS}, r"has \['readings'\], and forward takes \['x'\]"),
        ({}, "needs an input"),
    ],
)
def test_examples_that_do_not_fit_are_refused(tmp_path, examples, words):
    module = own.made(own.Bare, own.loops)
    with pytest.raises(UnservableModule, match=words):
        export_module(module, examples, states=module.states, repository=tmp_path, name="m")
