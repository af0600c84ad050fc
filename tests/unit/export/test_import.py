"""`rnnserve import`: from a stranger's file to a version that the server's own rooms read."""

import io
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from rich.console import Console

from foreign_models import SAMPLE_RATE, denoiser, file_of, layered, value, voice_activity
from rnnserve.engine.initial import beginning
from rnnserve.engine.runner import Runner
from rnnserve.repository.config import format_config, parse_config
from rnnserve.repository.spec import FREE
from rnnserve.repository.tree import versions
from rnnserve_export.draft import Draft
from rnnserve_export.errors import ExportError, OtherInterface
from rnnserve_export.foreign.errors import BadHint, Disproved, ForeignError, Undecided
from rnnserve_export.foreign.importing import import_file
from rnnserve_export.foreign.options import ImportOptions, Overrules

from . import odd_models

RATE = (f"sr={SAMPLE_RATE}",)


def streamed(read, model, rows, messages, steps):
    """Hold the published version against NumPy: several sessions at once, message after message."""
    spec = read.spec
    runner = Runner(spec, read.graph)
    rng = np.random.default_rng(4)
    carry = tuple(np.stack([first] * rows) for first in beginning(spec))
    given = {name: np.concatenate([first] * rows, axis=axis_of(spec, name)) for name, first in
             model.begin.items()}  # fmt: skip
    for _ in range(messages):
        inputs = tuple(
            rng.standard_normal((rows, steps, *tensor.shape)).astype(np.float32)
            for tensor in spec.inputs
        )
        carry, outputs = runner.run(carry, inputs)
        given |= {t.name: in_graph(spec, a) for t, a in zip(spec.inputs, inputs, strict=True)}
        expected = model.step(given)
        for tensor, found in zip(spec.outputs, outputs, strict=True):
            np.testing.assert_allclose(in_graph(spec, found), expected[tensor.name], atol=1e-5)
        given = {before: expected[after] for before, after in model.states.items()}


def axis_of(spec, name):
    return next(entry.batch_axis for entry in spec.carry if entry.input_name == name)


def in_graph(spec, array):
    """Rows and steps as the graph has them: (B, T, ...) to its own shape, rows first."""
    array = array if spec.has_time else array[:, 0]
    return array if spec.has_rows else array[0]


def test_a_state_with_rows_behind_its_layers_and_a_sample_rate(bring):
    model = voice_activity()
    read, said = bring(model.graph, constant=RATE)
    (state,) = read.spec.carry
    assert (state.shape, state.batch_axis) == ((2, 128), 1)
    assert (read.spec.max_batch, read.spec.has_rows, read.spec.has_time) == (256, True, False)
    streamed(read, model, rows=3, messages=5, steps=1)
    assert said.splitlines()[-1] == "published repository/model/1"
    assert "could not serve it: version 1: the graph's input 'sr'" in said


def test_a_state_of_one_row_and_no_more(bring):
    model = denoiser()
    read, said = bring(model.graph)
    assert (read.spec.max_batch, read.spec.has_rows) == (1, False)
    assert read.spec.carry[0].shape == (1, 2, 128, 2)
    streamed(read, model, rows=1, messages=5, steps=1)
    assert "one at a time: input_2 [1, 1, 257] has no free axis" in said
    assert "Triton    could serve it too" in said


def test_a_state_a_layer_and_time(bring):
    model = layered()
    read, _ = bring(model.graph)
    spec = read.spec
    assert {entry.input_name: entry.output_name for entry in spec.carry} == model.states
    assert (spec.has_time, spec.inputs[0].shape, spec.outputs[0].shape) == (True, (6,), (4,))
    streamed(read, model, rows=4, messages=3, steps=5)


@pytest.mark.parametrize(
    ("graph", "said"),
    [
        (voice_activity().graph, {"constant": RATE}),
        (denoiser().graph, {}),
        (layered().graph, {}),
        (odd_models.speaker(), {"once": ("speaker",)}),
        (odd_models.growing(), {}),
        (odd_models.looking_ahead(), {}),
        (odd_models.normed_over_rows(), {}),
        (odd_models.cell_by_hand("a", "b"), {"data": ("a", "b")}),
    ],
)
def test_what_was_decided_is_what_the_server_reads(bring, graph, said):
    """Reading and writing a configuration are each other's inverse, whatever the model."""
    read, _ = bring(graph, **said)
    assert parse_config(format_config(read.spec), "model", 1) == read.spec
    record = json.loads((bring.repository / "model" / "1" / "proof.json").read_text())
    assert {check["name"] for check in record["checks"]} >= {"the same again", "zeros in"}
    pairs = {state["in"]: state["out"] for state in record["reading"]["states"]}
    assert pairs == {e.input_name: e.output_name for e in read.spec.carry if e.output_name}


def test_an_input_that_a_session_sets_once_is_kept(bring):
    read, _ = bring(odd_models.speaker(), once=("speaker",))
    assert [entry.input_name for entry in read.spec.once] == ["speaker"]
    assert (read.spec.has_time, read.spec.inputs[0].batch_axis) == (True, 1)
    runner = Runner(read.spec, read.graph)
    carry = (np.zeros((1, 3), np.float32), np.full((1, 3), 5, np.float32))
    for total in (2, 4):
        carry, (y,) = runner.run(carry, (np.ones((1, 2, 3), np.float32),))
        np.testing.assert_array_equal(y[0, -1], np.full(3, 5 + total, np.float32))


def test_what_is_set_once_needs_a_fixed_size(bring):
    draft = Draft()
    draft.node("ReduceSum", ["voice", draft.constant("one", np.array([1]))], "all", keepdims=0)
    draft.node("Sum", ["h", "x", "all"], "h_next")
    draft.node("Identity", ["h_next"], "y")
    given = [value("x", ["N", 3]), value("h", ["N", 3]), value("voice", ["N", "L", 3])]
    graph = file_of(draft, given, [value("y", ["N", 3]), value("h_next", ["N", 3])])
    bring.refuses(Undecided, "--dims voice=LENGTH", graph, once=("voice",))
    read, _ = bring(graph, once=("voice",), dims=("voice=2",))
    assert read.spec.once[0].shape == (2, 3)


def test_a_state_that_grows_begins_with_one_entry_and_the_import_says_so(bring):
    read, said = bring(odd_models.growing())
    assert read.spec.carry[0].shape == (FREE, 3)
    assert read.spec.carry[0].begins_as == (1, 3)
    assert "zeros of the shape [1, 3]" in " ".join(said.split())


def test_an_index_into_a_table_has_a_range(bring):
    draft = Draft()
    table = np.arange(21, dtype=np.float32).reshape(7, 3)
    draft.node("Gather", [draft.constant("table", table), "token"], "row")
    draft.node("Add", ["h", "row"], "h_next")
    draft.node("Identity", ["h_next"], "y")
    graph = file_of(
        draft,
        [value("token", ["N"], onnx.TensorProto.INT64), value("h", ["N", 3])],
        [value("y", ["N", 3]), value("h_next", ["N", 3])],
    )
    read, _ = bring(graph)
    assert (read.spec.inputs[0].low, read.spec.inputs[0].high) == (0, 7)


def test_a_state_that_is_all_the_graph_gives_is_given_to_clients_too(bring):
    draft = Draft()
    draft.node("Add", ["h", "x"], "h_next")
    dims = [2, "N", 3]
    read, _ = bring(file_of(draft, [value("x", dims), value("h", dims)], [value("h_next", dims)]))
    assert [tensor.name for tensor in read.spec.outputs] == ["h_next"]
    runner = Runner(read.spec, read.graph)
    carry = (np.zeros((2, 2, 3), np.float32),)
    for total in (1, 2):
        carry, (y,) = runner.run(carry, (np.ones((2, 1, 2, 3), np.float32),))
        np.testing.assert_array_equal(y, np.full((2, 1, 2, 3), total, np.float32))


def test_a_model_without_states_stands_alone(bring):
    read, said = bring(odd_models.cell_by_hand("a", "b"), data=("a", "b"))
    assert not read.spec.is_sequential
    assert "each request stands alone" in said


@pytest.mark.parametrize(
    ("graph", "error", "sentence"),
    [
        (voice_activity().graph, Undecided, "--constant sr=16000"),
        (odd_models.cell_by_hand("a", "b"), Undecided, "--state a:out_3 .*and 1 more"),
        (odd_models.twins(), Undecided, "--state"),
        (odd_models.accumulator()[:100], ForeignError, "no ONNX model"),
        (odd_models.with_custom_domain(), ForeignError, "com.example"),
        (odd_models.with_external_data(), ForeignError, "weights.bin"),
    ],
)
def test_what_is_not_known_or_can_not_be_served_stops_the_import(bring, graph, error, sentence):
    bring.refuses(error, sentence, graph)


def test_a_constant_of_impossible_size_is_refused(bring):
    model = onnx.load_from_string(odd_models.cell_by_hand("h", "c"))
    model.graph.initializer[0].dims[0] = 2**40
    bring.refuses(ForeignError, "has no possible size", model.SerializeToString())


def test_operators_that_onnxruntime_does_not_know_are_told_in_its_words(bring):
    model = onnx.load_from_string(odd_models.accumulator())
    model.graph.node[0].op_type = "Addition"
    match = "onnxruntime doesn't take the graph.*Addition"
    bring.refuses(Disproved, match, model.SerializeToString())


def test_a_type_that_is_not_served_is_named(bring):
    draft = Draft()
    draft.node("Add", ["h", "x"], "h_next")
    draft.node("Identity", ["x"], "y")
    half = onnx.TensorProto.BFLOAT16
    given = [value(name, ["N", 3], half) for name in ("x", "h")]
    graph = file_of(draft, given, [value(name, ["N", 3], half) for name in ("y", "h_next")])
    bring.refuses(ForeignError, "BFLOAT16, which is not served", graph)


@pytest.mark.parametrize("name", ["", ".hidden", "two words", "a/b"])
def test_a_name_that_no_server_would_read_is_refused(bring, name):
    path = Path("model.onnx")
    path.write_bytes(odd_models.accumulator())
    options = ImportOptions(repository=bring.repository, name=name)
    with pytest.raises(BadHint, match="choose one with --name"):
        import_file(path, options, Overrules(), Console(file=io.StringIO()))


def test_the_same_file_again_publishes_nothing_and_says_so(bring):
    bring(odd_models.accumulator())
    _, said = bring(odd_models.accumulator(), max_batch=8)
    assert said.splitlines()[-1].endswith("is this very model already: nothing to publish")
    assert versions(bring.repository / "model") == [1]
    read, _ = bring(odd_models.accumulator(), force=True)
    assert (read.spec.version, read.spec.max_batch) == (2, 8)


def test_another_interface_needs_another_name(bring):
    bring(odd_models.accumulator())
    with pytest.raises(OtherInterface, match="--name"):
        bring(odd_models.growing())
    assert versions(bring.repository / "model") == [1]


def test_a_repository_that_can_not_be_written_is_one_sentence(bring):
    bring.repository.write_text("a file")
    with pytest.raises(ExportError, match="can't publish in"):
        bring(odd_models.accumulator())
