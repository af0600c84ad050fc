"""An ONNX file that none of us wrote, as facts: what it takes and gives, and what it is made of.

Nothing is run here, and nothing that the file refers to is opened.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from rnnserve.errors import ModelProblem
from rnnserve.repository.graph import BUILT_IN_DOMAINS, read_graph
from rnnserve_export.foreign.errors import ForeignError

UNKNOWN = ""
"""A dimension that is free and has no name."""

MAX_ELEMENTS = 1 << 27
"""Of one tensor of one session: half a GiB of FP32."""

Dim = int | str
"""Fixed, or free by that name."""


@dataclass(frozen=True)
class Tensor:
    """An input or an output of the graph."""

    name: str
    type_name: str
    """As ONNX calls it: FLOAT, INT64, ..."""
    dtype: np.dtype | None
    """None: a type that can't be served."""
    dims: tuple[Dim, ...] | None
    """None: not even the number of dimensions is known."""

    @property
    def free_axes(self) -> tuple[int, ...]:
        """The axes that may have any length."""
        return tuple(axis for axis, dim in enumerate(self.dims or ()) if isinstance(dim, str))

    @property
    def least_elements(self) -> int:
        """Where everything that is free has the length 1."""
        return prod(dim for dim in self.dims or () if isinstance(dim, int))

    def __str__(self) -> str:
        return f"{self.name} {self.shape}"

    @property
    def shape(self) -> str:
        """For people: `[N, 512]`; `?` is free and has no name."""
        if self.dims is None:
            return "[...]"
        return f"[{', '.join(str(dim) if dim != UNKNOWN else '?' for dim in self.dims)}]"


@dataclass(frozen=True)
class ForeignFile:
    """The file, and the graph in it."""

    path: Path
    data: bytes
    model: onnx.ModelProto
    """With its functions put in where they are called."""
    inputs: tuple[Tensor, ...]
    """Those that have to be fed; constants that may be are none."""
    outputs: tuple[Tensor, ...]

    @property
    def opset(self) -> int:
        """Of ONNX's own operators; 0: it names none."""
        own = ("", "ai.onnx")
        versions = [entry.version for entry in self.model.opset_import if entry.domain in own]
        return max(versions, default=0)

    @cached_property
    def operators(self) -> Counter[tuple[str, str]]:
        """How often each operator occurs, by domain and name."""
        return Counter(
            ("" if node.domain == "ai.onnx" else node.domain, node.op_type)
            for graph in _graphs(self.model.graph)
            for node in graph.node
        )

    @property
    def custom_domains(self) -> tuple[str, ...]:
        """Domains of operators that onnxruntime doesn't bring along."""
        return tuple(sorted({domain for domain, _ in self.operators} - BUILT_IN_DOMAINS))

    @cached_property
    def external(self) -> tuple[str, ...]:
        """The names of the files that hold weights beside this one."""
        return tuple(
            sorted(
                {
                    entry.value
                    for graph in _graphs(self.model.graph)
                    for tensor in _constants(graph)
                    if tensor.data_location == TensorProto.EXTERNAL
                    for entry in tensor.external_data
                    if entry.key == "location"
                }
            )
        )

    @cached_property
    def weight_bytes(self) -> int:
        """What its constants take, as far as the file says."""
        return sum(
            helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize * _elements(tensor)
            for graph in _graphs(self.model.graph)
            for tensor in _constants(graph)
            if tensor.data_type != TensorProto.STRING and tensor.data_type in _KNOWN_TYPES
        )

    @cached_property
    def problems(self) -> tuple[str, ...]:
        """What keeps the file from being served as it lies there."""
        found = []
        if self.custom_domains:
            found.append(
                f"it uses operators of the domain {', '.join(self.custom_domains)}, which "
                "onnxruntime doesn't have: export it again with ONNX's own operators"
            )
        if self.external:
            found.append(
                f"its weights lie in another file ({', '.join(self.external)}): save it with all "
                "its weights inside"
            )
        found += [
            f"{tensor.name!r} is {tensor.type_name}, which is not served"
            for tensor in (*self.inputs, *self.outputs)
            if tensor.dtype is None
        ]
        found += [
            f"it says nothing of the shape of the input {tensor.name!r}"
            for tensor in self.inputs
            if tensor.dims is None and tensor.dtype is not None
        ]
        found += [
            f"{tensor} is larger than any session could give or keep"
            for tensor in (*self.inputs, *self.outputs)
            if tensor.least_elements > MAX_ELEMENTS
        ]
        try:
            read_graph(self.data, str(self.path))
        except ModelProblem as problem:
            # What is said here already, the server would say in its own words.
            found = found or [str(problem)]
        return tuple(found)

    def check(self) -> None:
        """Raises ForeignError when the file can't be served as it lies there."""
        if self.problems:
            raise ForeignError(f"{self.path} can't be served: {'; '.join(self.problems)}")


_KNOWN_TYPES = frozenset(helper.get_all_tensor_dtypes())


def _elements(tensor: onnx.TensorProto) -> int:
    return prod(max(dim, 0) for dim in tensor.dims)


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """The graph and those inside its nodes."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _graphs(inner)


def _constants(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
