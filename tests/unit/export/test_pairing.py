"""Which pairs are found, by names, by the graph and by shapes; and which are left to be asked."""

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnserve_export.foreign.evidence import Sure, possible
from rnnserve_export.foreign.file import Tensor
from rnnserve_export.foreign.flow import Flow, trace
from rnnserve_export.foreign.pairing import find_pairs

from . import odd_models

NO_GRAPH = Flow({}, frozenset(), {}, {})
STEMS = (
    "h", "c", "hidden", "conv_cache", "att_cache", "mem", "kv.0", "kv.10", "kv.1", "enc_state",
    "cache_last_channel", "cache_last_channel_len", "cache_last_time", "lstm_h", "lstm_c",
    "layer_2_h", "layer_12_h", "layer_2_c",
)  # fmt: skip
HABITS = (
    ("{}", "{}_next"), ("{}", "next_{}"), ("{}", "new_{}"), ("{}", "{}_out"), ("{}_in", "{}_out"),
    ("past_{}", "present_{}"), ("prev_{}", "{}"), ("old_{}", "new_{}"), ("{}_0", "{}_n"),
    ("input_{}", "output_{}"), ("{}", "updated_{}"), ("{}", "{}_N"),
)  # fmt: skip


def tensor(name, *dims, dtype=np.float32):
    return Tensor(name, "FLOAT", np.dtype(dtype), dims or ("N", 8))


def found(inputs, outputs, flow=NO_GRAPH):
    return {(p.input, p.output): p.sure for p in find_pairs(inputs, outputs, flow)}


def pairs_of(graph):
    """The pairs of a whole graph."""
    model = onnx.load_from_string(graph)
    sides = [
        [
            tensor(e.name, *(d.dim_value or d.dim_param for d in e.type.tensor_type.shape.dim))
            for e in entries
        ]
        for entries in (model.graph.input, model.graph.output)
    ]
    return found(*sides, trace(model, [one.name for one in sides[0]]))


@st.composite
def named(draw):
    """Names of states as people choose them, all of one shape, with data beside them."""
    stems = draw(st.lists(st.sampled_from(STEMS), min_size=1, max_size=8, unique=True))
    habits = [draw(st.sampled_from(HABITS)) for _ in stems]
    return [
        (before.format(stem), after.format(stem))
        for stem, (before, after) in zip(stems, habits, strict=True)
    ]


@given(named(), st.randoms())
def test_names_alone_tell_states_of_one_shape_apart_in_any_order(pairs, chance):
    inputs = [tensor("x"), *(tensor(before) for before, _ in pairs)]
    outputs = [tensor("y"), *(tensor(after) for _, after in pairs)]
    chance.shuffle(inputs)
    chance.shuffle(outputs)
    assert found(inputs, outputs) == dict.fromkeys(pairs, Sure.CERTAIN)


shapes = st.sampled_from([("N", 8), ("N", 9), (2, "N", 8), (1, 8), (), ("N", "T"), None])
tensors = st.lists(
    st.builds(
        lambda name, dims, dtype: Tensor(name, "?", dtype and np.dtype(dtype), dims),
        st.text(max_size=6) | st.sampled_from(["h", "h_out", "x", "x_next", "in", "out", "n"]),
        shapes,
        st.sampled_from([np.float32, np.int64, None]),
    ),
    max_size=7,
    unique_by=lambda one: one.name,
)


@given(tensors, tensors, st.randoms())
def test_the_order_of_a_file_never_changes_what_is_found(inputs, outputs, chance):
    before = find_pairs(inputs, outputs, NO_GRAPH)
    chance.shuffle(inputs)
    chance.shuffle(outputs)
    assert find_pairs(inputs, outputs, NO_GRAPH) == before


@given(tensors, tensors)
def test_a_pair_can_be_one_state_and_no_tensor_is_in_two(inputs, outputs):
    by_name = [{one.name: one for one in side} for side in (inputs, outputs)]
    pairs = find_pairs(inputs, outputs, NO_GRAPH)
    assert all(possible(by_name[0][p.input], by_name[1][p.output]) for p in pairs)
    assert len({p.input for p in pairs}) == len({p.output for p in pairs}) == len(pairs)


def test_a_swap_that_looks_better_for_one_pair_is_not_made_at_the_cost_of_another():
    """`cache_len_next` shares more words with `cache` than `next_chan_cache` does."""
    inputs = [tensor("cache"), tensor("cache_len")]
    outputs = [tensor("cache_next"), tensor("cache_len_next")]
    assert set(found(inputs, outputs)) == {("cache", "cache_next"), ("cache_len", "cache_len_next")}


def test_the_only_thing_that_goes_in_and_out_is_data_whatever_its_name():
    assert found([tensor("x")], [tensor("x_next")]) == {}
    assert found([tensor("foo_in")], [tensor("foo_out")]) == {}
    assert found([tensor("a")], [tensor("b")]) == {}


def test_of_two_that_look_like_data_one_is_a_guess_at_the_most():
    inputs, outputs = [tensor("foo_in"), tensor("bar_in")], [tensor("foo_out"), tensor("bar_out")]
    assert set(found(inputs, outputs).values()) == {Sure.GUESS}


def test_shape_and_type_alone_are_only_a_guess():
    inputs, outputs = [tensor("x", "N", 5), tensor("a")], [tensor("y", "N", 3), tensor("b")]
    assert found(inputs, outputs) == {("a", "b"): Sure.GUESS}


def test_another_type_or_shape_is_no_pair_whatever_the_names():
    x, y = tensor("x", "N", 5), tensor("y", "N", 3)
    assert found([x, tensor("h")], [y, tensor("h_out", dtype=np.float64)]) == {}
    assert found([x, tensor("h")], [y, tensor("h_out", "N", 9)]) == {}


def test_data_of_the_same_shape_as_a_state_is_left_alone():
    inputs, outputs = [tensor("audio"), tensor("h")], [tensor("clean"), tensor("h_out")]
    assert found(inputs, outputs) == {("h", "h_out"): Sure.CERTAIN}


def test_recurrent_operators_tell_pairs_that_names_do_not():
    assert pairs_of(odd_models.nameless_grus()) == {
        ("b", "q"): Sure.CERTAIN,
        ("c", "p"): Sure.CERTAIN,
    }


def test_a_window_that_is_moved_along_tells_its_state():
    assert pairs_of(odd_models.sliding_window()) == {("left", "tail"): Sure.LIKELY}


def test_gates_tell_h_from_c_where_the_names_say_that_both_are_states():
    assert pairs_of(odd_models.cell_by_hand("h", "c")) == {
        ("h", "out_3"): Sure.LIKELY,
        ("c", "out_2"): Sure.LIKELY,
    }


def test_gates_alone_are_a_guess():
    """A residual connection looks the same."""
    found = pairs_of(odd_models.cell_by_hand("a", "b"))
    assert found == {("a", "out_3"): Sure.GUESS, ("b", "out_2"): Sure.GUESS}


def test_what_nothing_tells_apart_is_a_guess_even_with_names_of_states():
    graph = odd_models.twins("h", "c")
    assert set(pairs_of(graph).values()) == {Sure.GUESS}


def test_where_names_and_graph_say_the_opposite_neither_is_believed():
    found = pairs_of(odd_models.nameless_grus(b="m1", c="m2", p="m1_next", q="m2_next"))
    assert set(found.values()) == {Sure.GUESS}


@pytest.mark.parametrize("dims", [None, ("N", 8, 1)])
def test_another_number_of_dimensions_is_no_pair(dims):
    unknown = Tensor("h_out", "FLOAT", np.dtype(np.float32), dims)
    expected = {("h", "h_out"): Sure.CERTAIN} if dims is None else {}
    assert found([tensor("x", "N", 5), tensor("h")], [tensor("y", "N", 3), unknown]) == expected
