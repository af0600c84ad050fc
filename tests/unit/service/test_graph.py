"""An ONNX file is looked at before it is served, and tells what a configuration leaves out."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from rnnserve.errors import ModelProblem
from rnnserve.repository.completion import complete
from rnnserve.repository.graph import Graph, Value, read_graph
from rnnserve.triton import model_config_pb2 as triton

X, Y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 3]) for name in "xy")


def written(*nodes: onnx.NodeProto, constants=(), functions=(), domains=("",)) -> bytes:
    graph = helper.make_graph(list(nodes), "g", [X], [Y], initializer=list(constants))
    opsets = [helper.make_opsetid(domain, 17) for domain in domains]
    model = helper.make_model(graph, opset_imports=opsets, functions=list(functions))
    return model.SerializeToString()


def add(constant: str = "c") -> onnx.NodeProto:
    return helper.make_node("Add", ["x", constant], ["y"])


ONE = numpy_helper.from_array(np.ones(3, np.float32), "c")


def outside() -> onnx.TensorProto:
    tensor = TensorProto(name="c", data_type=TensorProto.FLOAT, dims=[3])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")
    return tensor


def branching(inside: onnx.NodeProto, constants=()) -> bytes:
    """A graph in whose branches something else stands."""
    branch = helper.make_graph([inside], "b", [], [Y], initializer=list(constants))
    flag = numpy_helper.from_array(np.array(True), "flag")
    node = helper.make_node("If", ["flag"], ["y"], then_branch=branch, else_branch=branch)
    return written(node, constants=[flag])


def test_a_graph_that_is_whole_by_itself_is_read():
    graph = read_graph(written(add(), constants=[ONE]), "m/1/model.onnx")
    assert graph.inputs == (Value("x", triton.TYPE_FP32, (-1, 3)),)
    assert graph.outputs == (Value("y", triton.TYPE_FP32, (-1, 3)),)


def test_constants_listed_as_inputs_are_no_inputs():
    model = onnx.ModelProto.FromString(written(add(), constants=[ONE]))
    model.graph.input.append(helper.make_tensor_value_info("c", TensorProto.FLOAT, [3]))
    assert [v.name for v in read_graph(model.SerializeToString(), "m").inputs] == ["x"]


def test_operators_of_a_function_of_its_own_are_whole():
    double = helper.make_function(
        "mine", "Double", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])], []
    )
    node = helper.make_node("Double", ["x"], ["y"], domain="mine")
    read_graph(written(node, functions=[double], domains=("", "mine")), "m")


CUSTOM = helper.make_node("Magic", ["x"], ["y"], domain="somebody.else")


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (b"", "no ONNX model"),
        (b"nonsense", "no ONNX model"),
        (written(add(), constants=[ONE])[:-20], "no ONNX model|not a whole one"),
        (written(CUSTOM), "somebody.else"),
        (branching(CUSTOM), "somebody.else"),
        (written(add(), constants=[outside()]), "'c' in another file"),
        (branching(add(), constants=[outside()]), "'c' in another file"),
        (
            written(add(), constants=[TensorProto(name="c", data_type=1, dims=[1 << 40])]),
            "'c' has no possible size",
        ),
        (
            written(add(), constants=[TensorProto(name="c", data_type=1, dims=[-3])]),
            "'c' has no possible size",
        ),
    ],
)
def test_what_is_not_whole_is_refused_by_name(data, named):
    with pytest.raises(ModelProblem, match=f"m/1/model.onnx.*({named})"):
        read_graph(data, "m/1/model.onnx")


def value(name: str, *dims: int) -> Value:
    return Value(name, triton.TYPE_FP32, dims)


ROWS = Graph((value("x", -1, 3), value("h", -1, 2)), (value("y", -1, 1), value("hn", -1, 2)))


def test_a_missing_config_is_the_graphs():
    config = triton.ModelConfig(name="m")
    complete(config, ROWS)
    assert config.max_batch_size == 4
    assert [(e.name, list(e.dims)) for e in config.input] == [("x", [3]), ("h", [2])]
    assert [(e.name, list(e.dims)) for e in config.output] == [("y", [1]), ("hn", [2])]


def test_a_graph_of_fixed_rows_gets_no_batch():
    config = triton.ModelConfig(name="m")
    complete(config, Graph((value("x", 1, 3),), (value("y", -1, 1),)))
    assert (config.max_batch_size, list(config.input[0].dims)) == (0, [1, 3])


def test_states_controls_and_constants_are_no_inputs():
    config = triton.ModelConfig(name="m", max_batch_size=8)
    config.sequence_batching.state.add(input_name="h", output_name="hn")
    config.sequence_batching.control_input.add(name="START")
    config.parameters["constant.sr"].string_value = "16000"
    graph = Graph((*ROWS.inputs, value("START", -1, 1), value("sr")), ROWS.outputs)
    complete(config, graph)
    assert [entry.name for entry in config.input] == ["x"]
    assert [entry.name for entry in config.output] == ["y"]


def test_what_the_config_says_stands():
    config = triton.ModelConfig(name="m", max_batch_size=2)
    config.input.add(name="x", data_type=triton.TYPE_FP32, dims=[3])
    complete(config, ROWS)
    assert (config.max_batch_size, len(config.input), len(config.output)) == (2, 1, 2)


@pytest.mark.parametrize(
    "graph",
    [
        Graph((value("x", 1, 3),), (value("y", -1, 1),)),
        Graph((Value("x", triton.TYPE_FP32, None),), (value("y", -1, 1),)),
    ],
)
def test_what_the_graph_does_not_tell_is_named(graph):
    with pytest.raises(ModelProblem, match="'x'"):
        complete(triton.ModelConfig(name="m", max_batch_size=8), graph)
