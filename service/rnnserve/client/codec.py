"""Arrays to the bytes of a step and back: little-endian, row-major, T x the shape of one step."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rnnserve.client.errors import BadInput
from rnnserve.errors import Reason
from rnnserve.repository import strings
from rnnserve.repository.dtypes import numpy_dtype
from rnnserve.repository.spec import fits
from rnnserve.v1 import rnnserve_pb2 as pb


@dataclass(frozen=True)
class Tensor:
    """An input, an output or a carry of a model; `shape` is that of one step, without T. A
    dimension of -1 is for each step to say."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    low: int | None = None
    high: int | None = None

    @cached_property
    def step_bytes(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize

    @property
    def is_text(self) -> bool:
        return self.dtype.kind == "O"

    def __str__(self) -> str:
        return f"{self.name} {self.dtype.name}[{', '.join(map(str, self.shape))}]"


class Encoded(NamedTuple):
    """A chunk's inputs as a Step carries them, one entry an input."""

    inputs: Sequence[bytes]
    steps: int
    shapes: Sequence[tuple[int, ...]] = ()
    """Of a step that brings them, one an input."""


def read_tensor(message: pb.Tensor) -> Tensor:
    """Raises ModelProblem for a data type this client doesn't know."""
    return Tensor(
        name=message.name,
        dtype=numpy_dtype(message.data_type, message.name),
        shape=tuple(message.shape),
        low=message.low if message.HasField("low") else None,
        high=message.high if message.HasField("high") else None,
    )


def encode(values: Sequence[ArrayLike], tensors: Sequence[Tensor]) -> Encoded:
    """The chunk's arrays, one a tensor and in their order, as bytes.

    Each is (T, *tensor.shape), or tensor.shape alone for a single step. What loses nothing is
    converted: numbers and lists of Python to the tensor's dtype, narrower arrays to wider ones.

    Raises BadInput: wrong_input_count, wrong_dtype, wrong_size or empty_chunk.
    """
    _check_count(values, tensors)
    inputs, steps = [], 0
    for value, tensor in zip(values, tensors, strict=True):
        array = _chunk(converted(value, tensor, "input"), tensor)
        if steps and len(array) != steps:
            raise BadInput(
                Reason.WRONG_SIZE,
                f"input {tensor.name!r} has {len(array)} steps, {tensors[0].name!r} has {steps}",
                expected=steps,
            )
        steps = len(array)
        inputs.append(array.tobytes())
    return Encoded(inputs, steps)


def decode(data: Sequence[bytes], tensors: Sequence[Tensor], steps: int) -> list[NDArray[Any]]:
    """The arrays of a chunk's answer, each (T, *tensor.shape), writable and the caller's own.

    Raises ValueError when the lengths aren't those of `steps` steps.
    """
    arrays = []
    for entry, tensor in zip(data, tensors, strict=True):
        if len(entry) != steps * tensor.step_bytes:
            raise ValueError(
                f"{len(entry)} bytes of {tensor.name!r} are not {steps} steps of {tensor}"
            )
        # Over a copy of the bytes: a third of what frombuffer, reshape and copy take.
        arrays.append(np.ndarray((steps, *tensor.shape), tensor.dtype, bytearray(entry)))
    return arrays


def encode_shaped(values: Sequence[ArrayLike], tensors: Sequence[Tensor]) -> Encoded:
    """One step that brings its shapes: an array a tensor, each of the tensor's shape with any
    length where that says -1.

    Raises BadInput: wrong_input_count, wrong_dtype or wrong_shape.
    """
    _check_count(values, tensors)
    inputs, shapes = [], []
    for value, tensor in zip(values, tensors, strict=True):
        array = converted(value, tensor, "input")
        if not fits(array.shape, tensor.shape):
            raise BadInput(
                Reason.WRONG_SHAPE,
                f"input {tensor.name!r} has shape {array.shape}, expected {tensor.shape}",
                expected=str(tensor.shape),
            )
        inputs.append(strings.pack(array) if tensor.is_text else array.tobytes())
        shapes.append(array.shape)
    return Encoded(inputs, 1, shapes)


def decode_shaped(
    data: Sequence[bytes], tensors: Sequence[Tensor], shapes: Sequence[tuple[int, ...]]
) -> list[NDArray[Any]]:
    """The arrays of such a step's answer, each of its own shape, writable and the caller's own.

    Raises ValueError when the lengths aren't those of the shapes.
    """
    arrays: list[NDArray[Any]] = []
    for entry, tensor, shape in zip(data, tensors, shapes, strict=True):
        if tensor.is_text:
            arrays.append(strings.as_array(strings.unpack(entry), shape))
        else:
            arrays.append(np.frombuffer(bytearray(entry), tensor.dtype).reshape(shape))
    return arrays


def _check_count(values: Sequence[ArrayLike], tensors: Sequence[Tensor]) -> None:
    if len(values) != len(tensors):
        names = ", ".join(tensor.name for tensor in tensors)
        raise BadInput(
            Reason.WRONG_INPUT_COUNT,
            f"the model takes {len(tensors)} inputs ({names}), {len(values)} were given",
            expected=len(tensors),
        )


def converted(value: ArrayLike, tensor: Tensor, kind: str) -> NDArray[Any]:
    """`value` in the tensor's dtype, or BadInput where that could change a number.

    `kind` is what the tensor is to the caller, for the message.
    """
    # The common case first: what is right already is only looked at.
    if type(value) is np.ndarray and value.dtype == tensor.dtype:
        return value
    if tensor.is_text:
        return np.asarray(value, object)
    from_python = isinstance(value, int | float | list | tuple)
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise BadInput(Reason.WRONG_SIZE, f"{kind} {tensor.name!r}: {error}") from None
    # numpy calls an empty list float64; it has no type worth an error about types.
    if array.size == 0 or _lossless(array, tensor.dtype, from_python):
        return array.astype(tensor.dtype, order="C", copy=False)
    raise BadInput(
        Reason.WRONG_DTYPE,
        f"{kind} {tensor.name!r} is {tensor.dtype.name}, {array.dtype.name} would not go into it "
        "unchanged: convert it yourself",
        expected=tensor.dtype.name,
    )


def _chunk(array: NDArray[Any], tensor: Tensor) -> NDArray[Any]:
    """`array` with its axis of time  # (T, *tensor.shape)"""
    shape = array.shape
    if shape == tensor.shape:
        return array[np.newaxis]
    if not shape or shape[1:] != tensor.shape:
        expected = ", ".join(["T", *map(str, tensor.shape)])
        raise BadInput(
            Reason.WRONG_SIZE,
            f"input {tensor.name!r} has shape {shape}, expected ({expected})",
            expected=f"({expected})",
        )
    if shape[0] == 0:
        raise BadInput(Reason.EMPTY_CHUNK, f"input {tensor.name!r} has no steps, give at least one")
    return array


def _lossless(array: NDArray[Any], dtype: np.dtype[Any], from_python: bool) -> bool:
    kinds = array.dtype.kind, dtype.kind
    if from_python and kinds[0] in "iu" and kinds[1] in "iu":
        range_ = np.iinfo(dtype)
        return bool(array.min() >= range_.min and array.max() <= range_.max)
    if from_python and kinds[0] in "iuf" and kinds[1] == "f":
        # Python's numbers have no width of their own; numpy rounds them likewise.
        return True
    if array.dtype.itemsize == 8 and kinds[0] in "iu" and kinds[1] == "f":
        # numpy calls int64 to float64 safe, and past 2**53 it isn't.
        return False
    return np.can_cast(array.dtype, dtype, "safe")
