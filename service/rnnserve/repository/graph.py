"""What an ONNX file refers to, looked at before it is handed to onnxruntime.

A graph is served as it lies in its one file: weights in other files, operators that somebody would
have to bring, and tensors larger than any file could hold are refused here, by name.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

from google.protobuf.message import DecodeError

from rnnserve.errors import ModelProblem
from rnnserve.onnx import graph_pb2 as onnx
from rnnserve.repository.spec import FREE, Shape
from rnnserve.triton import model_config_pb2 as triton

BUILT_IN_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})
"""Operators that onnxruntime's wheel has."""
TRITON_TYPES: dict[int, int] = {
    1: triton.TYPE_FP32,
    2: triton.TYPE_UINT8,
    3: triton.TYPE_INT8,
    4: triton.TYPE_UINT16,
    5: triton.TYPE_INT16,
    6: triton.TYPE_INT32,
    7: triton.TYPE_INT64,
    8: triton.TYPE_STRING,
    9: triton.TYPE_BOOL,
    10: triton.TYPE_FP16,
    11: triton.TYPE_FP64,
    12: triton.TYPE_UINT32,
    13: triton.TYPE_UINT64,
    16: triton.TYPE_BF16,
}
"""ONNX's numbers of element types (TensorProto.DataType) as Triton's."""
MAX_ELEMENTS = 1 << 31
"""Of one constant: a file of 2 GiB, the largest that protobuf can hold, has no more."""


@dataclass(frozen=True)
class Value:
    """An input or an output of a graph, as the file describes it."""

    name: str
    data_type: int
    """Triton's number; TYPE_INVALID where it has none."""
    dims: Shape | None
    """-1 for what is free; None: nothing is said."""


@dataclass(frozen=True)
class Graph:
    """What a graph takes and gives."""

    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]


def read_graph(data: bytes, where: str) -> Graph:
    """Raises ModelProblem, with `where` in front, for a file that is not whole by itself."""
    model = onnx.Model()
    try:
        model.ParseFromString(data)
    except DecodeError:
        raise ModelProblem(f"{where} is no ONNX model, or not a whole one") from None
    if not model.HasField("graph"):
        raise ModelProblem(f"{where} is no ONNX model: it has no graph")
    _check_operators(model, where)
    _check_constants(model, where)
    constants = {tensor.name for tensor in model.graph.initializer}
    return Graph(
        tuple(_value(value) for value in model.graph.input if value.name not in constants),
        tuple(map(_value, model.graph.output)),
    )


def _check_operators(model: onnx.Model, where: str) -> None:
    own = {function.domain for function in model.functions}
    for node in _nodes(model):
        if node.domain not in BUILT_IN_DOMAINS | own:
            raise ModelProblem(
                f"{where} uses the operator {node.op_type!r} of the domain {node.domain!r}, "
                "which onnxruntime doesn't have"
            )


def _check_constants(model: onnx.Model, where: str) -> None:
    for tensor in _tensors(model):
        if tensor.data_location == onnx.Tensor.EXTERNAL:
            raise ModelProblem(
                f"{where} keeps {tensor.name!r} in another file: save the model in one file"
            )
        if any(dim < 0 for dim in tensor.dims) or prod(tensor.dims) > MAX_ELEMENTS:
            raise ModelProblem(f"{where}: the constant {tensor.name!r} has no possible size")


def _value(value: onnx.Value) -> Value:
    tensor = value.type.tensor_type
    dims = None
    if tensor.HasField("shape"):
        dims = tuple(dim.dim_value if dim.dim_value > 0 else FREE for dim in tensor.shape.dim)
    return Value(value.name, TRITON_TYPES.get(tensor.elem_type, triton.TYPE_INVALID), dims)


def _nodes(model: onnx.Model) -> Iterator[onnx.Node]:
    for graph in _graphs(model):
        yield from graph.node
    for function in model.functions:
        yield from function.node


def _graphs(model: onnx.Model) -> Iterator[onnx.Graph]:
    """The graph, and those inside its nodes."""
    waiting = [model.graph]
    waiting += [graph for f in model.functions for node in f.node for graph in _inside(node)]
    while waiting:
        graph = waiting.pop()
        yield graph
        for node in graph.node:
            waiting += _inside(node)


def _inside(node: onnx.Node) -> list[onnx.Graph]:
    found = [attribute.g for attribute in node.attribute if attribute.HasField("g")]
    return found + [graph for attribute in node.attribute for graph in attribute.graphs]


def _tensors(model: onnx.Model) -> Iterator[onnx.Tensor]:
    for graph in _graphs(model):
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield from (sparse.values, sparse.indices)
    for node in _nodes(model):
        for attribute in node.attribute:
            yield attribute.t
            yield from attribute.tensors
