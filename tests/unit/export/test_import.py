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
from rnnserve.repository.tree import model_names, read_version, versions
from rnnserve_export.draft import Draft
from rnnserve_export.errors import ExportError, OtherInterface
from rnnserve_export.foreign.errors import BadHint, Disproved, ForeignError, Undecided
from rnnserve_export.foreign.importing import import_file
from rnnserve_export.foreign.options import ImportOptions, Overrules

from . import odd_models

RATE = (f"sr={SAMPLE_RATE}",)


@pytest.fixture
def bring(tmp_path, monkeypatch):
    """Imports a graph as `model`; what was published, as the server reads it, and what was said."""
    monkeypatch.chdir(tmp_path)
    repository = Path("repository")

    def bring(graph, name="model", max_batch=None, force=False, **said):
        path = Path(f"{name}.onnx")
        path.write_bytes(graph)
        console = Console(file=io.StringIO(), width=80)
        options = ImportOptions(repository=repository, max_batch=max_batch, force=force)
        published = import_file(path, options, Overrules(**said), console)
        return read_version(repository, name, published.version), console.file.getvalue()

    bring.repository = repository
    return bring


def refused(bring, error, match, graph, **options):
    """The import says why, and leaves nothing behind."""
    with pytest.raises(error, match=match):
        bring(graph, **options)
    assert not bring.repository.exists() or model_names(bring.repository) == []


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


def test_rows_that_influence_each_other_run_alone(bring):
    read, said = bring(odd_models.normed_over_rows())
    assert (read.spec.max_batch, read.spec.has_rows) == (1, True)
    assert "one at a time: they influence each other (off by" in said
    assert "doesn't" in said


def test_one_scale_over_the_whole_batch_is_named_as_the_reason(bring):
    draft = Draft()
    draft.node("Add", ["h", "x"], "h_next")
    draft.multi_node("DynamicQuantizeLinear", ["h_next"], ["q", "scale", "zero"])
    draft.node("DequantizeLinear", ["q", "scale", "zero"], "y")
    given = [value("x", ["N", 3]), value("h", ["N", 3])]
    graph = file_of(draft, given, [value("y", ["N", 3]), value("h_next", ["N", 3])])
    read, said = bring(graph)
    assert read.spec.max_batch == 1
    assert "DynamicQuantizeLinear takes one scale over the whole batch" in " ".join(said.split())


def shape_of_its_own(draft, dims):
    """A shape that only a run shows: computed from `x`, always the same."""
    draft.node("Mul", ["x", draft.constant("nothing", np.zeros(1, np.float32))], "zeros")
    draft.node("ReduceSum", ["zeros", draft.constant("axes", np.array([0, 1]))], "zero", keepdims=0)
    draft.node("Cast", ["zero"], "whole", to=onnx.TensorProto.INT64)
    return draft.node("Add", ["whole", draft.constant("dims", np.array(dims))], "shape")


def test_a_graph_that_fails_with_two_rows_runs_them_alone(bring):
    draft = Draft()
    draft.node("Add", ["h", "x"], "h_next")
    draft.node("Reshape", ["h_next", shape_of_its_own(draft, [1, 3])], "y")
    given = [value("x", ["N", 3]), value("h", ["N", 3])]
    graph = file_of(draft, given, [value("y", ["N", 3]), value("h_next", ["N", 3])])
    read, said = bring(graph)
    assert read.spec.max_batch == 1
    assert "it fails with two rows" in said


def test_where_chunks_give_something_else_a_message_is_one_run(bring):
    read, said = bring(odd_models.looking_ahead())
    assert (read.spec.has_time, read.spec.is_shaped) == (False, True)
    assert read.spec.inputs[0].shape == (FREE, 3)
    assert "chunks give something else than the whole (off by" in " ".join(said.split())
    _, (y,) = Runner(read.spec, read.graph).run(
        (np.zeros((1, 3), np.float32),), (np.ones((1, 1, 4, 3), np.float32),)
    )
    np.testing.assert_array_equal(y, np.zeros((1, 1, 4, 3), np.float32))


def test_a_graph_that_wants_four_steps_at_a_time_has_no_time(bring):
    """Four steps become one: chunks of other lengths fail, or give another number of results."""
    draft = Draft()
    shape = draft.constant("shape", np.array([0, -1, 4, 3]))
    draft.node("Reshape", ["x", shape], "fours")
    draft.node("ReduceSum", ["fours", draft.constant("two", np.array([2]))], "y", keepdims=0)
    draft.node("ReduceSum", ["x", draft.constant("one", np.array([1]))], "all", keepdims=0)
    draft.node("Add", ["h", "all"], "h_next")
    given = [value("x", ["N", "T", 3]), value("h", ["N", 3])]
    graph = file_of(draft, given, [value("y", ["N", "T4", 3]), value("h_next", ["N", 3])])
    read, said = bring(graph)
    assert (read.spec.has_time, read.spec.max_batch) == (False, 256)
    assert read.spec.inputs[0].shape == read.spec.outputs[0].shape == (FREE, 3)
    assert "any chunks: messages of any length" in said


def test_a_wrong_pair_that_was_only_likely_is_doubted_when_chunks_disagree(bring):
    """Said by the person: h and c swapped, which zeros can't show and chunks do."""
    draft = Draft()
    draft.node("CumSum", ["x", draft.constant("axis", np.array([1]))], "sums")
    draft.unsqueeze("cache_b", 1, "b_")
    draft.node("Add", ["sums", "b_"], "y")
    draft.node("ReduceSum", ["x", draft.constant("one", np.array([1]))], "all", keepdims=0)
    draft.node("Add", ["cache_b", "all"], "out_b")
    draft.node("Neg", ["other"], "out_a")
    rows = ["N", 3]
    graph = file_of(
        draft,
        [value("x", ["N", "T", 3]), value("other", rows), value("cache_b", rows)],
        [value("y", ["N", "T", 3]), value("out_a", rows), value("out_b", rows)],
    )
    read, _ = bring(graph, state=("other:out_a", "cache_b:out_b"))
    assert read.spec.has_time
    swapped, said = bring(graph, name="swapped", state=("other:out_b", "cache_b:out_a"))
    assert not swapped.spec.has_time
    assert "chunks give something else" in " ".join(said.split())


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
    refused(bring, Undecided, "--dims voice=LENGTH", graph, once=("voice",))
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


def test_lengths_that_a_graph_wants_are_found_or_asked_for(bring):
    """It takes messages of a multiple of 7, or of 999 alone."""

    def frames(length):
        draft = Draft()
        shape = draft.constant("shape", np.array([0, -1, length]))
        draft.node("Reshape", ["x", shape], "framed")
        draft.node("ReduceSum", ["framed", draft.constant("two", np.array([1, 2]))], "all")
        draft.node("Reshape", ["all", draft.constant("flat", np.array([-1, 1]))], "y")
        draft.node("Add", ["h", "y"], "h_next")
        return file_of(
            draft,
            [value("x", ["", ""]), value("h", ["", 1])],
            [value("y", ["", ""]), value("h_next", ["", 1])],
        )

    read, _ = bring(frames(7))
    assert (read.spec.inputs[0].shape, read.spec.outputs[0].shape) == ((FREE,), (1,))
    with pytest.raises(Disproved, match=r"x \[\?, \?\] must be with --dims"):
        bring(frames(999), name="long")
    read, _ = bring(frames(999), name="long", dims=("x=999",))
    assert (read.spec.inputs[0].shape, read.spec.is_shaped) == ((999,), False)


def test_shapes_that_the_file_leaves_open_are_seen_by_running(bring):
    model = onnx.load_from_string(voice_activity().graph)
    for entry in model.graph.output:
        for dim in entry.type.tensor_type.shape.dim:
            dim.dim_param = ""
    read, _ = bring(model.SerializeToString(), constant=RATE)
    assert (read.spec.outputs[0].shape, read.spec.outputs[0].batch_axis) == ((1,), 0)
    streamed(read, voice_activity(), rows=2, messages=3, steps=1)


def test_a_result_without_rows_leaves_none(bring):
    draft = Draft()
    draft.node("Add", ["h", "x"], "h_next")
    draft.node("Reshape", ["h_next", shape_of_its_own(draft, [-1])], "y")
    given = [value("x", ["N", 3]), value("h", ["N", 3])]
    read, said = bring(file_of(draft, given, [value("y", [""]), value("h_next", ["N", 3])]))
    assert (read.spec.has_rows, read.spec.inputs[0].shape) == (False, (1, 3))
    assert "y has no axis that is as long as there are rows" in " ".join(said.split())


def test_types_of_all_kinds_go_through_the_proof(bring):
    for kind, dtype in (("FLOAT16", np.float16), ("INT64", np.int64), ("DOUBLE", np.float64)):
        draft = Draft()
        draft.node("Add", ["h", "x"], "h_next")
        draft.node("Add", ["h_next", "x"], "y")
        number = onnx.TensorProto.DataType.Value(kind)
        sides = [
            [value(name, ["N", 3], number) for name in pair] for pair in ("xh", ("y", "h_next"))
        ]
        read, _ = bring(file_of(draft, *sides), name=kind)
        assert read.spec.carry[0].dtype == dtype
        assert read.spec.max_batch == 256


def test_noise_is_refused(bring):
    refused(bring, Disproved, "other numbers every time", odd_models.drawing_lots())


def test_numbers_that_are_never_finite_are_refused(bring):
    draft = Draft()
    draft.node("Add", ["h", "x"], "h_next")
    draft.node("Div", ["h_next", draft.constant("zero", np.zeros(1, np.float32))], "y")
    given = [value("x", ["N", 3]), value("h", ["N", 3])]
    graph = file_of(draft, given, [value("y", ["N", 3]), value("h_next", ["N", 3])])
    refused(bring, Disproved, "aren't finite", graph)


def test_zeros_that_fail_are_refused_though_other_numbers_do_not(bring):
    draft = Draft()
    draft.node("Abs", ["x"], "level")
    draft.node("Log", ["level"], "y")
    draft.node("Add", ["h", "x"], "h_next")
    given = [value("x", ["N", 3]), value("h", ["N", 3])]
    graph = file_of(draft, given, [value("y", ["N", 3]), value("h_next", ["N", 3])])
    refused(bring, Disproved, "'zeros in' doesn't hold: it gives numbers that aren't", graph)


def test_an_output_that_can_not_be_the_next_is_refused(bring):
    """The file promises [N, 3], the graph gives [N, 6]."""
    draft = Draft()
    draft.node("Concat", ["h", "x"], "h_next", axis=1)
    draft.node("Identity", ["x"], "y")
    given = [value("x", ["N", "F"]), value("h", ["N", 3])]
    graph = file_of(draft, given, [value("y", ["N", "F"]), value("h_next", ["N", ""])])
    refused(bring, Disproved, "'h_next' came as", graph)


def test_shapes_that_were_frozen_by_the_exporter_are_told(bring):
    """The file promises 7 steps for whatever goes in."""
    frozen = onnx.load_from_string(odd_models.looking_ahead())
    frozen.graph.input[0].type.tensor_type.shape.dim[1].ClearField("dim_param")
    frozen.graph.node[1].op_type = "Compress"
    del frozen.graph.node[1].input[:], frozen.graph.node[1].attribute[:]
    frozen.graph.node[1].input.extend(["x", "few"])
    frozen.graph.node[1].attribute.append(onnx.helper.make_attribute("axis", 1))
    few = onnx.numpy_helper.from_array(np.ones(4, bool), "few")
    frozen.graph.initializer.append(few)
    frozen.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 7
    refused(
        bring, Disproved, r"y \[N, 7, 3\] .*came as \[1, 4, 3\].*frozen", frozen.SerializeToString()
    )


def test_a_tensor_of_absurd_size_is_refused_before_it_is_made(bring):
    graph = odd_models.accumulator(rows=["N", 2**40])
    refused(bring, ForeignError, "larger than any session could", graph)
    draft = Draft()
    draft.node("Reshape", ["x", draft.constant("shape", np.array([0, -1, 16000]))], "framed")
    draft.node("ReduceMax", ["framed"], "y", axes=[1, 2], keepdims=1)
    draft.node("Add", ["h", "y"], "h_next")
    ends = [value("y", ["N", 1, 1]), value("h_next", ["N", 1, 1])]
    graph = file_of(draft, [value("x", ["N", 2**16, "L"]), value("h", ["N", 1, 1])], ends)
    # 4 GB with the length that would do.
    refused(bring, Disproved, "--dims NAME=LENGTH", graph)


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
    refused(bring, error, sentence, graph)


def test_a_constant_of_impossible_size_is_refused(bring):
    model = onnx.load_from_string(odd_models.cell_by_hand("h", "c"))
    model.graph.initializer[0].dims[0] = 2**40
    refused(bring, ForeignError, "has no possible size", model.SerializeToString())


def test_operators_that_onnxruntime_does_not_know_are_told_in_its_words(bring):
    model = onnx.load_from_string(odd_models.accumulator())
    model.graph.node[0].op_type = "Addition"
    refused(
        bring, Disproved, "onnxruntime doesn't take the graph.*Addition", model.SerializeToString()
    )


def test_a_type_that_is_not_served_is_named(bring):
    draft = Draft()
    draft.node("Add", ["h", "x"], "h_next")
    draft.node("Identity", ["x"], "y")
    half = onnx.TensorProto.BFLOAT16
    given = [value(name, ["N", 3], half) for name in ("x", "h")]
    graph = file_of(draft, given, [value(name, ["N", 3], half) for name in ("y", "h_next")])
    refused(bring, ForeignError, "BFLOAT16, which is not served", graph)


@pytest.mark.parametrize("name", ["", ".hidden", "two words", "a/b"])
def test_a_name_that_no_server_would_read_is_refused(bring, tmp_path, name):
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


def test_runs_that_are_expected_to_fail_leave_no_complaint_of_onnxruntime(bring, capfd):
    draft = Draft()
    draft.node("Add", ["h", "x"], "h_next")
    draft.node("Reshape", ["h_next", shape_of_its_own(draft, [1, 3])], "y")
    given = [value("x", ["N", 3]), value("h", ["N", 3])]
    bring(file_of(draft, given, [value("y", ["N", 3]), value("h_next", ["N", 3])]))
    assert capfd.readouterr().err == ""
