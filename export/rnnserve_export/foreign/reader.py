"""From the bytes of an ONNX file to its facts."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message
from onnx import TensorProto, helper, inliner, shape_inference

from rnnserve.repository.dtypes import NUMBERS
from rnnserve.repository.tree import MAX_GRAPH_BYTES
from rnnserve_export.foreign.errors import ForeignError
from rnnserve_export.foreign.file import UNKNOWN, Dim, ForeignFile, Tensor

_MADE_UP = re.compile(r"unk__\d+|.*_dynamic_axes_\d+|.*_dim_\d+|\?")
"""What tools write where nobody gave a name: another one for every tensor."""


def read_file(path: Path) -> ForeignFile:
    """Read an ONNX file. Raises ForeignError: there is none, or it isn't a whole one."""
    data = _bytes(path)
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError:
        raise ForeignError(f"{path} is no ONNX model, or not a whole one") from None
    if not model.graph.node or not model.graph.output:
        raise ForeignError(
            f"{path} is no ONNX model: it has no graph, or one that computes nothing"
        )
    if not all(isinstance(text, str) for text in _texts(model)):
        raise ForeignError(f"{path} is no ONNX model, or damaged: it has names that are no text")
    model = _inlined(model)
    graph = _inferred(model)
    fixed = {tensor.name for tensor in model.graph.initializer}
    fixed |= {tensor.values.name for tensor in model.graph.sparse_initializer}
    return ForeignFile(
        path,
        data,
        model,
        tuple(_tensor(entry) for entry in graph.input if entry.name not in fixed),
        tuple(_tensor(entry) for entry in graph.output),
    )


def _bytes(path: Path) -> bytes:
    if not path.is_file():
        raise ForeignError(f"there is no file {path}")
    if (size := path.stat().st_size) > MAX_GRAPH_BYTES:
        raise ForeignError(
            f"{path} has {size:,} bytes; a graph may have {MAX_GRAPH_BYTES:,} at the most"
        )
    try:
        return path.read_bytes()
    except OSError as error:
        raise ForeignError(f"{path} can't be read: {error.strerror}") from None


def _texts(message: Message) -> Iterator[str | bytes]:
    """Every text in it; one that is no UTF-8 comes as bytes."""
    for field, value in message.ListFields():
        values = value if field.is_repeated else [value]
        if field.type == FieldDescriptor.TYPE_STRING:
            yield from values
        elif field.type == FieldDescriptor.TYPE_MESSAGE:
            for inner in values:
                yield from _texts(inner)


def _inlined(model: onnx.ModelProto) -> onnx.ModelProto:
    if not model.functions:
        return model
    try:
        return inliner.inline_local_functions(model)
    except Exception:  # it raises whatever its C++ does; the graph can be looked at as it is
        return model


def _inferred(model: onnx.ModelProto) -> onnx.GraphProto:
    """The graph with the shapes that follow from its operators, as onnxruntime sees it too."""
    try:
        return shape_inference.infer_shapes(model).graph
    except Exception:  # likewise
        return model.graph


def _tensor(entry: onnx.ValueInfoProto) -> Tensor:
    kind = entry.type.WhichOneof("value")
    if kind != "tensor_type":
        return Tensor(entry.name, (kind or "nothing").removesuffix("_type").upper(), None, None)
    tensor = entry.type.tensor_type
    names = {number: name for name, number in TensorProto.DataType.items()}
    type_name = names.get(tensor.elem_type, f"type {tensor.elem_type}")
    dims = tuple(map(_dim, tensor.shape.dim)) if tensor.HasField("shape") else None
    return Tensor(entry.name, type_name, _dtype(tensor.elem_type), dims)


def _dim(dim: onnx.TensorShapeProto.Dimension) -> Dim:
    # A length of 0 or less is how some tools write that it is free.
    if dim.HasField("dim_value") and dim.dim_value > 0:
        return int(dim.dim_value)
    return UNKNOWN if _MADE_UP.fullmatch(dim.dim_param) else str(dim.dim_param)


def _dtype(number: int) -> np.dtype | None:
    if number == TensorProto.STRING:
        return np.dtype(object)
    try:
        dtype = np.dtype(helper.tensor_dtype_to_np_dtype(number))
    except (KeyError, TypeError):
        return None
    return dtype if dtype in NUMBERS else None
