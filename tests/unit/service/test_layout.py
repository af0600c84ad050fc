"""However a graph has its arrays, the engine has them rows first, one row a session."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper, numpy_helper

from rnnserve.engine.runner import Runner
from rnnserve.errors import ModelProblem
from rnnserve.repository.config import parse_config
from rnnserve.repository.spec import ModelSpec

FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
HEAD = 'name: "m" backend: "onnxruntime" '


def graph(inputs: dict, outputs: dict, *nodes) -> bytes:
    """A graph of these tensors, each (type, dims)."""
    values = [
        [helper.make_tensor_value_info(name, *value) for name, value in side.items()]
        for side in (inputs, outputs)
    ]
    made = helper.make_graph(list(nodes), "g", *values)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString()


def accumulator(x: list, h: list) -> bytes:
    """y = hn = h + x."""
    return graph(
        {"x": (FLOAT, x), "h": (FLOAT, h)},
        {"y": (FLOAT, h), "hn": (FLOAT, h)},
        helper.make_node("Add", ["x", "h"], ["hn"]),
        helper.make_node("Identity", ["hn"], ["y"]),
    )


def config(batch: int, dims: str, parameters: dict[str, str] | None = None, more: str = "") -> str:
    said = "".join(
        f'parameters {{ key: "{key}" value {{ string_value: "{value}" }} }} '
        for key, value in (parameters or {}).items()
    )
    return (
        f"{HEAD} max_batch_size: {batch} {said} {more} "
        f'input [ {{ name: "x" data_type: TYPE_FP32 dims: {dims} }} ] '
        f'output [ {{ name: "y" data_type: TYPE_FP32 dims: {dims} }} ] '
        "sequence_batching { state [ { "
        f'input_name: "h" output_name: "hn" data_type: TYPE_FP32 dims: {dims} }} ] }}'
    )


def rows(count: int, *shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, *shape)).astype(np.float32)


def ran(text: str, data: bytes, carry: np.ndarray, x: np.ndarray):
    """The carry (B, ...) and the output (B, T, ...) of one run."""
    (after,), (y,) = Runner(parse_config(text, "m", 1), data).run((carry,), (x,))
    return after, y


AXES = {"batch_axis.x": "1", "batch_axis.y": "1", "batch_axis.h": "1"}


@given(count=st.integers(1, 4), length=st.integers(1, 5))
def test_rows_may_stand_at_any_axis_of_the_graph(count, length):
    data = accumulator([2, "N", 3], [2, "N", 3])
    carry, x = rows(count, 2, 3), rows(count, 1, 2, 3, seed=1)
    after, y = ran(config(8, "[ 2, 3 ]", AXES), data, carry, x)
    np.testing.assert_array_equal(after, carry + x[:, 0])
    np.testing.assert_array_equal(y, (carry + x[:, 0])[:, None])


def test_a_graph_without_rows_gets_one_and_gives_one():
    data = accumulator([1, 2, 3], [1, 2, 3])
    carry, x = rows(1, 1, 2, 3), rows(1, 1, 1, 2, 3, seed=1)
    after, y = ran(config(0, "[ 1, 2, 3 ]"), data, carry, x)
    np.testing.assert_array_equal(after, carry + x[:, 0])
    assert y.shape == (1, 1, 1, 2, 3)


def test_a_graph_without_rows_may_have_tensors_without_any_axis():
    data = accumulator([], [])
    carry, x = rows(1), rows(1, 1, seed=1)
    after, y = ran(config(0, "[ ]"), data, carry, x)
    np.testing.assert_array_equal(after, carry + x[:, 0])
    assert (after.shape, y.shape) == ((1,), (1, 1))


@given(count=st.integers(1, 4))
def test_a_reshape_stands_between_the_client_and_the_graph(count):
    data = graph(
        {"x": (FLOAT, ["N"])},
        {"y": (FLOAT, ["N", 1, 1])},
        helper.make_node("Unsqueeze", ["x", "axes"], ["y"]),
    )
    data = with_constant(data, "axes", np.array([1, 2]))
    text = (
        f"{HEAD} max_batch_size: 8 "
        'input { name: "x" data_type: TYPE_FP32 dims: [ 1 ] reshape { shape: [ ] } } '
        'output { name: "y" data_type: TYPE_FP32 dims: [ 1 ] reshape { shape: [ 1, 1 ] } }'
    )
    x = rows(count, 1, 1)
    _, (y,) = Runner(parse_config(text, "m", 1), data).run((), (x,))
    np.testing.assert_array_equal(y, x)


def test_free_dimensions_keep_their_order_through_a_reshape():
    data = graph(
        {"x": (FLOAT, ["N", "a", 6, "b"])},
        {"y": (FLOAT, ["N", "a", 6, "b"])},
        helper.make_node("Identity", ["x"], ["y"]),
    )
    text = (
        f"{HEAD} max_batch_size: 8 "
        'input { name: "x" data_type: TYPE_FP32 dims: [ 2, -1, 3, -1 ] '
        "reshape { shape: [ -1, 6, -1 ] } } "
        'output { name: "y" data_type: TYPE_FP32 dims: [ -1, 6, -1 ] }'
    )
    _, (y,) = Runner(parse_config(text, "m", 1), data).run((), (rows(2, 1, 2, 4, 3, 5),))
    assert y.shape == (2, 1, 4, 6, 5)


def with_constant(data: bytes, name: str, array: np.ndarray) -> bytes:
    model = ModelProto.FromString(data)
    model.graph.initializer.append(numpy_helper.from_array(array, name))
    return model.SerializeToString()


def scaled(shape: list) -> bytes:
    """hn = h + x * s, with s an input that is no client's business."""
    return graph(
        {"x": (FLOAT, ["N", 2]), "h": (FLOAT, ["N", 2]), "s": (FLOAT, shape)},
        {"y": (FLOAT, ["N", 2]), "hn": (FLOAT, ["N", 2])},
        helper.make_node("Mul", ["x", "s"], ["xs"]),
        helper.make_node("Add", ["xs", "h"], ["hn"]),
        helper.make_node("Identity", ["hn"], ["y"]),
    )


@pytest.mark.parametrize(
    ("shape", "value", "factor"),
    [([], "3", 3.0), ([1], "3", 3.0), ([1, 1], "0.5", 0.5), ([2], "[2, 4]", [2.0, 4.0])],
)
def test_a_constant_is_fed_in_the_graphs_shape(shape, value, factor):
    carry, x = rows(3, 2), rows(3, 1, 2, seed=1)
    after, _ = ran(config(8, "[ 2 ]", {"constant.s": value}), scaled(shape), carry, x)
    np.testing.assert_allclose(after, carry + x[:, 0] * np.array(factor), rtol=1e-6)


@pytest.mark.parametrize(
    "value",
    ["[1, 2, 3]", '\\"text\\"', "[[1], [2, 3]]", "null", "[true, false]", "[1e39, 1]", "[1, [2]]"],
)
def test_a_constant_that_does_not_fit_stops_the_model(value):
    with pytest.raises(ModelProblem, match="'s'"):
        Runner(parse_config(config(8, "[ 2 ]", {"constant.s": value}), "m", 1), scaled([2]))


def test_what_a_session_sets_once_is_a_carry_that_stays():
    text = config(8, "[ 2 ]", {"once.s": "true"}).replace(
        "output [", 'input [ { name: "s" data_type: TYPE_FP32 dims: [ 2 ] } ] output ['
    )
    spec = parse_config(text, "m", 1)
    carry, once, x = rows(3, 2), rows(3, 2, seed=2), rows(3, 1, 2, seed=1)
    (after, kept), _ = Runner(spec, scaled(["N", 2])).run((carry, once), (x,))
    np.testing.assert_allclose(after, carry + x[:, 0] * once, rtol=1e-6)
    np.testing.assert_array_equal(kept, once)


def test_a_state_that_clients_get_too_is_given_twice():
    data = graph(
        {"x": (FLOAT, ["N", 2]), "h": (FLOAT, ["N", 2])},
        {"hn": (FLOAT, ["N", 2])},
        helper.make_node("Add", ["x", "h"], ["hn"]),
    )
    text = config(8, "[ 2 ]").replace('name: "y"', 'name: "hn"')
    carry, x = rows(3, 2), rows(3, 1, 2, seed=1)
    after, y = ran(text, data, carry, x)
    np.testing.assert_array_equal(after[:, None], y)


CONTROLS = """
  control_input [
    { name: "START" control [ { kind: CONTROL_SEQUENCE_START fp32_false_true: [ 0, 1 ] } ] },
    { name: "ID" control [ { kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_INT64 } ] } ]
"""


@pytest.mark.parametrize("shape", [["N"], ["N", 1]])
def test_controls_are_one_value_a_row_in_the_graphs_rank(shape):
    data = graph(
        {
            "x": (FLOAT, ["N", 2]),
            "h": (FLOAT, ["N", 2]),
            "START": (FLOAT, shape),
            "ID": (INT64, shape),
        },
        {"y": (FLOAT, shape), "hn": (FLOAT, ["N", 2])},
        helper.make_node("Cast", ["ID"], ["id"], to=FLOAT),
        helper.make_node("Add", ["START", "id"], ["y"]),
        helper.make_node("Add", ["x", "h"], ["hn"]),
    )
    text = config(8, "[ 2 ]").replace("sequence_batching {", "sequence_batching {" + CONTROLS)
    dims = "[ ]" if len(shape) == 1 else "[ 1 ]"
    y = 'name: "y" data_type: TYPE_FP32 dims: '
    text = text.replace(f"{y}[ 2 ]", f"{y}{dims}")
    runner = Runner(parse_config(text, "m", 1), data)
    marks = (np.array([0, 1, 0], np.float32), np.array([5, 6, 7]))
    _, (y,) = runner.run((rows(3, 2),), (rows(3, 1, 2), *marks))
    assert y.ravel().tolist() == [5, 7, 7]


def test_a_control_that_the_graph_has_otherwise_stops_the_model():
    spec = parse_config(
        config(8, "[ 2 ]").replace("sequence_batching {", "sequence_batching {" + CONTROLS), "m", 1
    )
    for kind, shape, named in ((FLOAT, ["N", 3], "'ID'"), (FLOAT, ["N"], "'ID'")):
        data = graph(
            {
                "x": (FLOAT, ["N", 2]),
                "h": (FLOAT, ["N", 2]),
                "START": (FLOAT, ["N"]),
                "ID": (kind, shape),
            },
            {"y": (FLOAT, ["N", 2]), "hn": (FLOAT, ["N", 2])},
            helper.make_node("Add", ["x", "h"], ["hn"]),
            helper.make_node("Identity", ["hn"], ["y"]),
        )
        with pytest.raises(ModelProblem, match=named):
            Runner(spec, data)


@pytest.mark.parametrize(
    ("x", "h", "named"),
    [
        ([1, 2], ["N", 2], "'x'"),
        (["N", 2], [1, 2], "'h'"),
        (["N", 3], ["N", 3], "'h'|'x'"),
        (["N", 2, 2], ["N", 2, 2], "'h'|'x'"),
    ],
)
def test_rows_that_the_graph_does_not_leave_free_stop_the_model(x, h, named):
    spec: ModelSpec = parse_config(config(8, "[ 2 ]"), "m", 1)
    with pytest.raises(ModelProblem, match=named):
        Runner(spec, accumulator(x, h))
