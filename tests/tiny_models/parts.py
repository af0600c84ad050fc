"""What tiny models are made of: a folder's content, and graphs written node by node."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from onnx import NodeProto, TensorProto, checker, helper, numpy_helper

from rnnserve.engine.runner import Runner
from rnnserve.repository.config import read_config
from rnnserve.repository.spec import ModelSpec

Tensors = Mapping[str, tuple[str, list[int | str]]]
"""Type, by its name in the protocol, and dims; one that is text is free."""

OPSET = 17

ONNX_TYPES = {
    "BOOL": TensorProto.BOOL,
    "UINT8": TensorProto.UINT8,
    "UINT16": TensorProto.UINT16,
    "UINT32": TensorProto.UINT32,
    "UINT64": TensorProto.UINT64,
    "INT8": TensorProto.INT8,
    "INT16": TensorProto.INT16,
    "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64,
    "FP16": TensorProto.FLOAT16,
    "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE,
    "BYTES": TensorProto.STRING,
}
"""Every type of the protocol that onnxruntime runs."""
DTYPES = {of: np.dtype(helper.tensor_dtype_to_np_dtype(kind)) for of, kind in ONNX_TYPES.items()}
"""As numpy has them."""


@dataclass(frozen=True)
class TinyModel:
    """One model: what stands in its folder."""

    name: str
    config: str
    graph: bytes
    files: Mapping[str, bytes] = field(default_factory=dict)
    """What else there is, by its path in the model's folder."""

    def write(self, repository: Path, version: int = 1) -> None:
        """Lay it out in Triton's layout; once for each version."""
        folder = repository / self.name
        (folder / str(version)).mkdir(parents=True)
        (folder / "config.pbtxt").write_text(self.config)
        (folder / str(version) / "model.onnx").write_bytes(self.graph)
        for path, data in self.files.items():
            (folder / path).parent.mkdir(exist_ok=True)
            (folder / path).write_bytes(data)

    @cached_property
    def spec(self) -> ModelSpec:
        """As version 1."""
        read = read_config(self.config, self.name, lambda name: self.files[f"initial_state/{name}"])
        return replace(read.spec, version=1)

    def runner(self) -> Runner:
        return Runner(self.spec, self.graph)


def publish(repository: Path, models: Iterable[TinyModel]) -> None:
    """Lay all of them out, each as version 1."""
    for model in models:
        model.write(repository)


def config_type(of: str) -> str:
    """A type's name in config.pbtxt."""
    return "TYPE_STRING" if of == "BYTES" else f"TYPE_{of}"


def entries(dims: str = "[ 1 ]", **sides: Mapping[str, str]) -> str:
    """The lists `input` and `output` of tensors that all have these dims; types by name."""
    return "\n".join(
        f'{side} {{ name: "{name}" data_type: {config_type(of)} dims: {dims} }}'
        for side, tensors in sides.items()
        for name, of in tensors.items()
    )


def graph_of(
    inputs: Tensors, outputs: Tensors, nodes: list[NodeProto], **constants: np.ndarray
) -> bytes:
    """The bytes of a checked ONNX file."""
    sides = [
        [helper.make_tensor_value_info(name, ONNX_TYPES[of], dims) for name, (of, dims) in of_side]
        for of_side in (inputs.items(), outputs.items())
    ]
    tensors = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "g", *sides, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    checker.check_model(model)
    return model.SerializeToString()
