"""What is followed through a graph: the way of each input to each output."""

import numpy as np
import onnx
from onnx import TensorProto, helper

from foreign_models import file_of, value, voice_activity
from rnnserve_export.draft import Draft
from rnnserve_export.foreign.flow import trace

from . import odd_models
from .odd_models import weights

BOOL = TensorProto.BOOL


def flow_of(graph):
    model = onnx.load_from_string(graph)
    return trace(model, [entry.name for entry in model.graph.input])


def gru(draft, x, begin, end, name="gru"):
    """A GRU of 4 units over x (T, N, 3), from `begin` to `end`, each (1, N, 4)."""
    cell = [
        draft.constant("W", weights(1, 1, 12, 3)),
        draft.constant("R", weights(2, 1, 12, 4)),
    ]
    draft.multi_node("GRU", [x, *cell, "", "", begin], ["all", end], hidden_size=4, name=name)


def test_a_gate_is_nearer_than_a_layer():
    far = flow_of(odd_models.cell_by_hand("h", "c")).far
    assert far["c", "out_2"] < far["c", "out_3"] < far["h", "out_3"] < far["h", "out_1"]


def test_an_output_that_is_not_computed_from_an_input_has_no_way_from_it():
    far = flow_of(odd_models.counting()).far
    assert ("token", "count_out") not in far
    assert far["count", "count_out"] > 0


def test_only_the_shape_of_a_value_is_nothing_of_it():
    draft = Draft()
    draft.node("Shape", ["h"], "shape")
    draft.node("Expand", ["x", "shape"], "y")
    graph = file_of(draft, [value("x", [1, 3]), value("h", ["N", 3])], [value("y", ["N", 3])])
    assert set(flow_of(graph).far) == {("x", "y")}


def test_a_memory_is_followed_through_slices_masks_and_joins():
    """A state is cleared where a sequence begins, split, and joined again."""
    draft = Draft()
    draft.node("Mul", ["s", "going_on"], "masked")
    draft.multi_node("Split", ["masked"], ["h", "rest"], axis=0)
    gru(draft, "x", "h", "end")
    draft.node("Concat", ["end", "rest"], "t", axis=0)
    graph = file_of(
        draft,
        [value("x", ["T", "N", 3]), value("s", [2, "N", 4]), value("going_on", [1])],
        [value("t", [2, "N", 4])],
    )
    memories = flow_of(graph).memories
    # That the mask has another shape than the state is seen elsewhere.
    assert set(memories) == {("s", "t"), ("going_on", "t")}
    assert memories["s", "t"].way == "initial_h -> Y_h of the GRU 'gru'"


def test_the_last_step_of_all_outputs_is_a_memory_too_but_not_as_surely():
    draft = Draft()
    draft.unsqueeze("h", 0, "begin")
    gru(draft, "x", "begin", "end")
    draft.node("Gather", ["all", draft.constant("last", np.array([-1]))], "last_step", axis=0)
    graph = file_of(
        draft,
        [value("x", ["T", "N", 3]), value("h", ["N", 4])],
        [value("end", [1, "N", 4]), value("last_step", [1, 1, "N", 4])],
    )
    memories = flow_of(graph).memories
    assert memories["h", "end"].is_whole
    assert not memories["h", "last_step"].is_whole


def test_branches_are_followed_and_what_chooses_between_them():
    far = flow_of(voice_activity().graph).far
    assert {("input", "stateN"), ("sr", "stateN"), ("sr", "output")} <= set(far)


def test_a_memory_inside_a_branch_is_seen():
    def branch(name):
        draft = Draft()
        gru(draft, "x", "h", f"{name}_end", name)
        nodes, ends = draft.nodes, [value(f"{name}_end", [1, "N", 4])]
        return helper.make_graph(nodes, name, [], ends, draft.initializers())

    draft = Draft()
    draft.node("If", ["fast"], "end", then_branch=branch("one"), else_branch=branch("two"))
    graph = file_of(
        draft,
        [value("x", ["T", "N", 3]), value("h", [1, "N", 4]), value("fast", [], BOOL)],
        [value("end", [1, "N", 4])],
    )
    assert set(flow_of(graph).memories) == {("h", "end")}


def test_what_a_scan_carries_around_is_a_memory():
    """s' = s + x over all steps, and its sums."""
    body = Draft()
    body.node("Add", ["s", "x"], "s_end")
    body.node("Identity", ["s_end"], "sum")
    ends = [value("s_end", ["N", 3]), value("sum", ["N", 3])]
    inner = helper.make_graph(
        body.nodes, "body", [value("s", ["N", 3]), value("x", ["N", 3])], ends
    )
    draft = Draft()
    draft.multi_node("Scan", ["a", "steps"], ["b", "sums"], body=inner, num_scan_inputs=1)
    graph = file_of(
        draft,
        [value("a", ["N", 3]), value("steps", ["T", "N", 3])],
        [value("b", ["N", 3]), value("sums", ["T", "N", 3])],
    )
    flow = flow_of(graph)
    assert set(flow.memories) == {("a", "b")}
    assert {("steps", "b"), ("steps", "sums"), ("a", "sums")} <= set(flow.far)


def test_what_is_carried_around_reaches_what_is_carried_beside_it():
    """Through two turns of a Loop: a into b, b into c."""
    body = Draft()
    body.node("Identity", ["going"], "go_on")
    body.node("Identity", ["a"], "a_end")
    body.node("Add", ["a", "b"], "b_end")
    body.node("Add", ["b", "c"], "c_end")
    names = ("a", "b", "c")
    inner = helper.make_graph(
        body.nodes,
        "body",
        [value("turn", [], TensorProto.INT64), value("going", [], BOOL)]
        + [value(name, [3]) for name in names],
        [value("go_on", [], BOOL), *(value(f"{name}_end", [3]) for name in names)],
    )
    draft = Draft()
    given = ["turns", "", *(f"{name}_in" for name in names)]
    draft.multi_node("Loop", given, [f"{name}_out" for name in names], body=inner)
    graph = file_of(
        draft,
        [value("turns", [], TensorProto.INT64), *(value(f"{name}_in", [3]) for name in names)],
        [value(f"{name}_out", [3]) for name in names],
    )
    flow = flow_of(graph)
    assert ("a_in", "c_out") in flow.far
    assert ("c_in", "a_out") not in flow.far
    assert not any(memory.is_whole for memory in flow.memories.values())


def test_an_index_into_a_table_has_the_tables_size_for_a_range():
    assert flow_of(odd_models.counting()).rows_of_table == {"token": 7}


def test_a_window_holds_numbers_of_what_it_is_moved_along():
    flow = flow_of(odd_models.sliding_window())
    assert ("left", "tail") in flow.moved
    assert ("left", "y") not in flow.moved
