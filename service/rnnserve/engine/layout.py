"""How a graph wants its arrays, where that isn't how the engine has them.

The engine has rows first everywhere, time behind them, and one row a session: inputs (B, T, ...),
of which T is 1 where the graph has no time, carries (B, ...), control values (B,). A graph may have
its rows at another axis or none at all, other shapes by a `reshape`, inputs that are always the
same, and inputs that a session keeps and the graph doesn't give back.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from rnnserve.engine.slots import Rows
from rnnserve.errors import ModelProblem
from rnnserve.repository.spec import FREE, CarrySpec, ConstantSpec, ModelSpec, Shape, TensorSpec

_LEAVES: dict[str, type | tuple[type, ...]] = {
    "b": bool,
    "i": int,
    "u": int,
    "f": (int, float),
    "O": str,
}
"""What JSON has of each kind of type."""

Dims = tuple[int | None, ...]
"""A shape in the graph; None is free."""


class Layout:
    """Between the engine's arrays and the graph's. Remembers nothing but the model's facts."""

    def __init__(
        self, spec: ModelSpec, ranks: Mapping[str, int], constants: Mapping[str, np.ndarray]
    ) -> None:
        """`ranks` of the graph's control inputs, by name."""
        self._spec = spec
        self._ranks = ranks
        self._constants = dict(constants)

    def feed(self, carry: Rows, inputs: Rows) -> dict[str, np.ndarray]:
        """What the graph is given, by name. `inputs` are followed by the control values (B,)."""
        spec = self._spec
        feed = dict(self._constants)
        for entry, array in zip(spec.carry, carry, strict=True):
            feed[entry.input_name] = self._rows_in(array, entry.batch_axis)
        count = len(spec.inputs)
        for tensor, array in zip(spec.inputs, inputs[:count], strict=True):
            feed[tensor.name] = self._input(tensor, array)
        for control, values in zip(spec.controls, inputs[count:], strict=True):
            feed[control.name] = values.reshape(_control_shape(self._ranks[control.name], values))
        return feed

    def back(self, given: Rows, found: Mapping[str, np.ndarray]) -> tuple[Rows, Rows]:
        """The carry and the outputs. `found`: what the graph gave, by name; `given`: the carry that
        went in."""
        spec = self._spec
        carry = tuple(
            self._rows_out(found[entry.output_name], entry.batch_axis)
            if entry.output_name
            else kept
            for entry, kept in zip(spec.carry, given, strict=True)
        )
        return carry, tuple(self._output(tensor, found[tensor.name]) for tensor in spec.outputs)

    def _input(self, tensor: TensorSpec, array: np.ndarray) -> np.ndarray:
        rows = array if self._spec.has_time else array[:, 0]
        if tensor.graph_shape is not None:
            rows = rows.reshape(rows.shape[0], *reshaped(tensor, rows.shape[1:]))
        return self._rows_in(rows, tensor.batch_axis)

    def _output(self, tensor: TensorSpec, array: np.ndarray) -> np.ndarray:
        array = self._rows_out(array, tensor.batch_axis)
        if tensor.graph_shape is not None:
            array = array.reshape(array.shape[0], *unshaped(tensor, array.shape[1:]))
        return array if self._spec.has_time else array[:, None]

    def _rows_in(self, array: np.ndarray, axis: int) -> np.ndarray:
        if not self._spec.has_rows:
            # With the dots it stays an array, where there is no axis left.
            only: np.ndarray = array[0, ...]
            return only
        return _moved(array, 0, axis)

    def _rows_out(self, array: np.ndarray, axis: int) -> np.ndarray:
        if not self._spec.has_rows:
            return array[None]
        return _moved(array, axis, 0)


def is_plain(spec: ModelSpec) -> bool:
    """Whether the graph has its arrays as the engine has them."""
    tensors = (*spec.inputs, *spec.outputs)
    axes = [tensor.batch_axis for tensor in tensors] + [entry.batch_axis for entry in spec.carry]
    return (
        spec.has_time
        and spec.has_rows
        and not (spec.controls or spec.constants or spec.once)
        # A state that clients get too is one output of the graph.
        and not {entry.output_name for entry in spec.carry} & {tensor.name for tensor in tensors}
        and not any(tensor.graph_shape is not None for tensor in tensors)
        and not any(axes)
    )


def graph_dims(spec: ModelSpec, entry: TensorSpec | CarrySpec) -> Dims:
    """The shape that the graph has to have for an input, an output or a state."""
    shape: list[int | None] = [None if dim == FREE else dim for dim in _graph_shape(entry)]
    if spec.has_time and isinstance(entry, TensorSpec):
        shape.insert(0, None)
    if spec.has_rows:
        shape.insert(entry.batch_axis, None)
    return tuple(shape)


def constant(spec: ConstantSpec, dtype: np.dtype, dims: Sequence[Any]) -> np.ndarray:
    """A constant as the graph wants it. Raises ModelProblem where it doesn't fit."""
    value = json.loads(spec.text)
    try:
        if not all(isinstance(leaf, _LEAVES[dtype.kind]) for leaf in _leaves(value)):
            raise ValueError
        if dtype.kind != "b" and any(isinstance(leaf, bool) for leaf in _leaves(value)):
            raise ValueError
        with np.errstate(over="ignore"):
            array = np.array(value, dtype)
        if dtype.kind == "f" and not np.isfinite(array).all():
            raise ValueError
    except (ValueError, TypeError, OverflowError):
        raise ModelProblem(f"constant {spec.name!r}: {spec.text[:80]} is no {dtype}") from None
    if array.size == 1 and all(not isinstance(dim, int) or dim == 1 for dim in dims):
        return array.reshape((1,) * len(dims))
    if len(dims) != array.ndim or any(
        isinstance(dim, int) and dim != have for dim, have in zip(dims, array.shape, strict=True)
    ):
        raise ModelProblem(
            f"constant {spec.name!r} has the shape {list(array.shape)}, the graph wants "
            f"{list(dims)}"
        )
    return array


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, list):
        for entry in value:
            yield from _leaves(entry)
    else:
        yield value


def reshaped(tensor: TensorSpec, found: Shape) -> Shape:
    """The graph's shape of one row that came as `found`; free dimensions in their order."""
    assert tensor.graph_shape is not None
    return _filled(tensor.graph_shape, tensor.shape, found)


def unshaped(tensor: TensorSpec, found: Shape) -> Shape:
    """The configured shape of one row that the graph gave as `found`."""
    assert tensor.graph_shape is not None
    return _filled(tensor.shape, tensor.graph_shape, found)


def _filled(wanted: Shape, pattern: Shape, found: Shape) -> Shape:
    if len(found) != len(pattern):
        raise ValueError(f"{len(found)} dimensions, not {len(pattern)}")
    free = iter(dim for dim, was in zip(found, pattern, strict=True) if was == FREE)
    filled = tuple(next(free) if dim == FREE else dim for dim in wanted)
    if prod(filled) != prod(found):
        raise ValueError(f"{found} can't become {filled}")
    return filled


def _moved(array: np.ndarray, source: int, target: int) -> np.ndarray:
    moved: np.ndarray = array if source == target else np.moveaxis(array, source, target)
    return moved


def _graph_shape(entry: TensorSpec | CarrySpec) -> Shape:
    if isinstance(entry, TensorSpec) and entry.graph_shape is not None:
        return entry.graph_shape
    return entry.shape


def _control_shape(rank: int, values: np.ndarray) -> Shape:
    """(B,), (B, 1) and so on; without any axis where there is one row."""
    return (len(values), *(1,) * (rank - 1)) if rank else ()
