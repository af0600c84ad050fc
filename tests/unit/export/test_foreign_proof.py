"""What running shows of a stranger's graph: shapes, rows, time, and what is refused."""

import numpy as np
import onnx
import pytest

from foreign_models import file_of, value, voice_activity
from rnnserve.engine.runner import Runner
from rnnserve.repository.spec import FREE
from rnnserve_export.draft import Draft
from rnnserve_export.foreign.errors import Disproved, ForeignError

from . import odd_models
from .importer import summing


def test_rows_that_influence_each_other_run_alone(bring):
    read, said = bring(odd_models.normed_over_rows())
    assert (read.spec.max_batch, read.spec.has_rows) == (1, True)
    assert "one at a time: they influence each other (off by" in said
    assert "doesn't" in said


def test_one_scale_over_the_whole_batch_is_named_as_the_reason(bring):
    draft = Draft()
    draft.multi_node("DynamicQuantizeLinear", ["h_next"], ["q", "scale", "zero"])
    draft.node("DequantizeLinear", ["q", "scale", "zero"], "y")
    read, said = bring(summing(draft))
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
    draft.node("Reshape", ["h_next", shape_of_its_own(draft, [1, 3])], "y")
    read, said = bring(summing(draft))
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


def test_states_that_were_swapped_show_when_a_message_is_cut(bring):
    """What `cache` was becomes `other`: a single message can't show it."""
    draft = Draft()
    draft.node("CumSum", ["x", draft.constant("axis", np.array([1]))], "sums")
    draft.unsqueeze("cache", 1, "cache_by_step")
    draft.node("Add", ["sums", "cache_by_step"], "y")
    draft.node("ReduceSum", ["x", draft.constant("one", np.array([1]))], "all", keepdims=0)
    draft.node("Add", ["cache", "all"], "b")
    draft.node("Neg", ["other"], "a")
    rows = ["N", 3]
    graph = file_of(
        draft,
        [value("x", ["N", "T", 3]), value("other", rows), value("cache", rows)],
        [value("y", ["N", "T", 3]), value("a", rows), value("b", rows)],
    )
    right, _ = bring(graph, name="right", state=("other:a", "cache:b"))
    wrong, _ = bring(graph, name="wrong", state=("other:b", "cache:a"))
    assert (right.spec.has_time, wrong.spec.has_time) == (True, False)


def test_a_pair_that_was_only_likely_is_doubted_when_chunks_disagree(bring):
    _, said = bring(odd_models.looking_ahead(following="out_1"))
    assert "or h:out_1, which is likely, is wrong" in " ".join(said.split())
    _, said = bring(odd_models.looking_ahead(), name="certain")
    assert "is wrong" not in " ".join(said.split())


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
    read, _ = bring(model.SerializeToString(), constant=("sr=16000",))
    told, _ = bring(voice_activity().graph, name="told", constant=("sr=16000",))
    assert (read.spec.outputs, read.spec.carry) == (told.spec.outputs, told.spec.carry)


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
    bring.refuses(Disproved, "other numbers every time", odd_models.drawing_lots())


def test_numbers_that_are_never_finite_are_refused(bring):
    draft = Draft()
    draft.node("Div", ["h_next", draft.constant("zero", np.zeros(1, np.float32))], "y")
    bring.refuses(Disproved, "aren't finite", summing(draft))


def test_zeros_that_fail_are_refused_though_other_numbers_do_not(bring):
    draft = Draft()
    draft.node("Abs", ["x"], "level")
    draft.node("Log", ["level"], "y")
    match = "'zeros in' doesn't hold: it gives numbers that aren't"
    bring.refuses(Disproved, match, summing(draft))


def test_an_output_that_can_not_be_the_next_is_refused(bring):
    """The file promises [N, 3], the graph gives [N, 6]."""
    draft = Draft()
    draft.node("Concat", ["h", "x"], "h_next", axis=1)
    draft.node("Identity", ["x"], "y")
    given = [value("x", ["N", "F"]), value("h", ["N", 3])]
    graph = file_of(draft, given, [value("y", ["N", "F"]), value("h_next", ["N", ""])])
    bring.refuses(Disproved, "'h_next' came as", graph)


def test_shapes_that_were_frozen_by_the_exporter_are_told(bring):
    """The file promises 7 steps for whatever goes in."""
    draft = Draft()
    draft.node("Compress", ["x", draft.constant("all", np.ones(4, bool))], "y", axis=1)
    draft.node("Neg", ["h"], "h_next")
    given = [value("x", ["N", "T", 3]), value("h", ["N", 3])]
    graph = file_of(draft, given, [value("y", ["N", 7, 3]), value("h_next", ["N", 3])])
    bring.refuses(Disproved, r"y \[N, 7, 3\] .*came as \[1, 4, 3\].*frozen", graph)


def test_a_tensor_of_absurd_size_is_refused_before_it_is_made(bring):
    graph = odd_models.accumulator(rows=["N", 2**40])
    bring.refuses(ForeignError, "larger than any session could", graph)
    draft = Draft()
    draft.node("Reshape", ["x", draft.constant("shape", np.array([0, -1, 16000]))], "framed")
    draft.node("ReduceMax", ["framed"], "y", axes=[1, 2], keepdims=1)
    draft.node("Add", ["h", "y"], "h_next")
    ends = [value("y", ["N", 1, 1]), value("h_next", ["N", 1, 1])]
    graph = file_of(draft, [value("x", ["N", 2**16, "L"]), value("h", ["N", 1, 1])], ends)
    # 4 GB with the length that would do.
    bring.refuses(Disproved, "--dims NAME=LENGTH", graph)


def test_runs_that_are_expected_to_fail_leave_no_complaint_of_onnxruntime(bring, capfd):
    draft = Draft()
    draft.node("Reshape", ["h_next", shape_of_its_own(draft, [1, 3])], "y")
    bring(summing(draft))
    assert capfd.readouterr().err == ""


def test_lengths_that_onnxruntime_works_out_and_the_file_does_not_say_are_no_contradiction(bring):
    """It folds constants first: the shape of `h_out` is a sum of two."""
    draft = Draft()
    parts = [draft.constant(name, np.array(dims)) for name, dims in (("p", [1, 2]), ("q", [0, 1]))]
    draft.node("Add", ["h", "x"], "sum")
    draft.node("Reshape", ["sum", draft.node("Add", parts, "shape")], "h_out")
    draft.node("Neg", ["x"], "y")
    given = [value("x", [1, 3]), value("h", [1, 3])]
    read, _ = bring(file_of(draft, given, [value("y", [1, 3]), value("h_out", ["", ""])]))
    assert read.spec.carry[0].shape == (1, 3)
