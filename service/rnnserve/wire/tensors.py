"""Tensors on the wire: a step's bytes to arrays and back, and specs as messages."""

from collections.abc import Sequence

import numpy as np

from rnnserve.engine.slots import Rows
from rnnserve.errors import Reason, Refusal
from rnnserve.repository.dtypes import dtype_number
from rnnserve.repository.spec import CarrySpec, ModelSpec, TensorSpec
from rnnserve.v1 import rnnserve_pb2 as v1


def decode(spec: ModelSpec, step: v1.Step) -> Rows:
    """The step's inputs in the spec's order, each (T, ...); views of the message's bytes.

    Raises Refusal: wrong_input_count, wrong_dtype, wrong_size, empty_chunk, value_out_of_range.
    """
    if len(step.inputs) != len(spec.inputs):
        raise Refusal(
            Reason.WRONG_INPUT_COUNT,
            f"{len(step.inputs)} inputs; {spec.name} takes "
            f"{[tensor.name for tensor in spec.inputs]}",
            expected=len(spec.inputs),
        )
    if step.data_types:
        _check_types(spec, step.data_types)
    arrays = tuple(map(_array, spec.inputs, step.inputs))
    steps = len(arrays[0])
    for tensor, array in zip(spec.inputs, arrays, strict=True):
        if len(array) != steps:
            raise Refusal(
                Reason.WRONG_SIZE,
                f"input {tensor.name!r} has {len(array)} steps, {spec.inputs[0].name!r} {steps}",
                input=tensor.name,
            )
    if steps == 0:
        raise Refusal(Reason.EMPTY_CHUNK, "a chunk needs at least one step")
    return arrays


def encode(outputs: Rows) -> list[bytes]:
    """Outputs, each (T, ...), as little-endian row-major bytes."""
    return [array.tobytes() for array in outputs]


def tensor_message(tensor: TensorSpec) -> v1.Tensor:
    """An input or output as it is described to clients."""
    return v1.Tensor(
        name=tensor.name,
        data_type=v1.DataType.ValueType(dtype_number(tensor.dtype)),
        shape=tensor.shape,
        low=tensor.low,
        high=tensor.high,
    )


def carry_message(entry: CarrySpec) -> v1.Tensor:
    """A carry entry as it is described to clients."""
    return v1.Tensor(
        name=entry.input_name,
        data_type=v1.DataType.ValueType(dtype_number(entry.dtype)),
        shape=entry.shape,
    )


def _check_types(spec: ModelSpec, given: Sequence[int]) -> None:
    expected = [dtype_number(tensor.dtype) for tensor in spec.inputs]
    if list(given) == expected:
        return
    wanted = {
        tensor.name: v1.DataType.Name(v1.DataType.ValueType(number))
        for tensor, number in zip(spec.inputs, expected, strict=True)
    }
    raise Refusal(Reason.WRONG_DTYPE, f"the inputs' types must be {wanted}")


def _array(tensor: TensorSpec, data: bytes) -> np.ndarray:
    if len(data) % tensor.step_bytes:
        raise Refusal(
            Reason.WRONG_SIZE,
            f"input {tensor.name!r} has {len(data)} bytes, no multiple of the "
            f"{tensor.step_bytes} of one step",
            input=tensor.name,
            step_bytes=tensor.step_bytes,
        )
    if tensor.dtype.kind == "b":
        _check_range(tensor, np.frombuffer(data, np.uint8), 0, 2)
    array = np.frombuffer(data, tensor.dtype).reshape(-1, *tensor.shape)  # (T, ...)
    if tensor.low is not None and tensor.high is not None:
        _check_range(tensor, array, tensor.low, tensor.high)
    return array


def _check_range(tensor: TensorSpec, array: np.ndarray, low: int, high: int) -> None:
    if array.size == 0:
        return
    # A single value is the common case, and two reductions cost more than the comparison.
    least, most = (array.min(), array.max()) if array.size > 1 else (array.flat[0],) * 2
    if least < low or most >= high:
        found = least if least < low else most
        raise Refusal(
            Reason.VALUE_OUT_OF_RANGE,
            f"input {tensor.name!r} has the value {found}; allowed are {low} to {high - 1}",
            input=tensor.name,
            low=low,
            high=high,
        )
