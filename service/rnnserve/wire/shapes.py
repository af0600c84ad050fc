"""Steps that bring their shapes: what a step says of them, or what its length says."""

from collections.abc import Sequence
from math import prod

from rnnserve.errors import Reason, Refusal
from rnnserve.repository import strings
from rnnserve.repository.spec import FREE, ModelSpec, Shape, TensorSpec, fits
from rnnserve.v1 import rnnserve_pb2 as v1
from rnnserve.wire.tensors import check_values, wrong_count, wrong_types

MAX_ELEMENTS = 1 << 31
"""Of one tensor: more than any message could hold."""
MAX_EMPTY_ELEMENTS = 1 << 20
"""Of one that has none, by its other dimensions: they cost their sender no bytes, and a graph that
sums over the empty one makes an array of them."""


def shapes_of(spec: ModelSpec, step: v1.Step) -> tuple[Shape, ...]:
    """The shapes of a step's inputs, without rows; the inputs are right for them.

    Raises Refusal: wrong_input_count, wrong_dtype, wrong_shape, wrong_size, value_out_of_range.
    """
    inputs, tensors = step.inputs, spec.inputs
    if len(inputs) != len(tensors):
        raise wrong_count(spec, len(inputs))
    if step.data_types and list(step.data_types) != spec.input_types:
        raise wrong_types(spec)
    if step.shapes:
        if len(step.shapes) != len(tensors):
            raise wrong_count(spec, len(step.shapes))
        shapes = tuple(tuple(shape.dims) for shape in step.shapes)
    else:
        shapes = tuple(map(_by_length, tensors, inputs))
    for tensor, memory, shape in zip(tensors, inputs, shapes, strict=True):
        check_shaped(tensor, memory, shape)
    return shapes


def check_shaped(tensor: TensorSpec, memory: bytes, shape: Shape) -> None:
    """Hold the bytes of a step against their shape, and that against the tensor.

    Raises Refusal: wrong_shape, wrong_size, value_out_of_range.
    """
    if not fits(shape, tensor.shape) or not can_exist(shape):
        raise _wrong_shape(tensor, shape)
    count = prod(shape)
    if tensor.dtype.kind == "O":
        try:
            found = len(strings.unpack(memory, strings.MAX_ELEMENTS))
        except ValueError:
            raise Refusal(
                Reason.VALUE_OUT_OF_RANGE,
                f"input {tensor.name!r} is no text: each element needs its length and UTF-8, and "
                f"there may be {strings.MAX_ELEMENTS} of them",
                input=tensor.name,
            ) from None
        if found != count:
            raise _wrong_size(tensor, f"{found} elements", f"{count}")
        return
    size_bytes = count * tensor.dtype.itemsize
    if len(memory) != size_bytes:
        raise _wrong_size(tensor, f"{len(memory)} bytes", f"{size_bytes}")
    check_values(tensor, memory)


def can_exist(shape: Sequence[int]) -> bool:
    """Whether it is a shape at all, and of an array that there can be."""
    if min(shape, default=0) < 0:
        return False
    most = MAX_EMPTY_ELEMENTS if 0 in shape else MAX_ELEMENTS
    return prod(dim or 1 for dim in shape) <= most


def _by_length(tensor: TensorSpec, memory: bytes) -> Shape:
    """The shape that its length gives. Raises Refusal (wrong_shape) where several would do."""
    fixed = prod(dim for dim in tensor.shape if dim != FREE)
    if tensor.shape.count(FREE) > 1 or fixed == 0:
        raise _wrong_shape(tensor, ())
    if tensor.dtype.kind == "O":
        elements = _elements(memory)
    else:
        elements = len(memory) // tensor.dtype.itemsize
    return tuple(elements // fixed if dim == FREE else dim for dim in tensor.shape)


def _elements(memory: bytes) -> int:
    try:
        return len(strings.unpack(memory, strings.MAX_ELEMENTS))
    except ValueError:
        return 0


def _wrong_shape(tensor: TensorSpec, shape: Sequence[int]) -> Refusal:
    return Refusal(
        Reason.WRONG_SHAPE,
        f"input {tensor.name!r} has the shape {list(shape)[:16]}; the model takes "
        f"{list(tensor.shape)}, where -1 is for the step to say",
        input=tensor.name,
    )


def _wrong_size(tensor: TensorSpec, found: str, expected: str) -> Refusal:
    return Refusal(
        Reason.WRONG_SIZE,
        f"input {tensor.name!r} has {found}, its shape wants {expected}",
        input=tensor.name,
    )
