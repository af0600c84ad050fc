"""The carry a session begins with: the model's own, what the caller gives, or normal noise."""

import math
from collections.abc import Sequence

import numpy as np

from rnnserve.engine.slots import Rows
from rnnserve.errors import Reason, Refusal
from rnnserve.repository import strings
from rnnserve.repository.spec import CarrySpec, ModelSpec, Shape


def beginning(spec: ModelSpec) -> Rows:
    """What a session begins with unless it is told otherwise: what the model says, or zeros. Each
    of the shape that its entry begins with (no rows)."""
    return tuple(map(_beginning, spec.carry))


def given(spec: ModelSpec, tensors: Sequence[bytes], shapes: Sequence[Shape] | None = None) -> Rows:
    """The caller's own: little-endian, row-major, one entry a carry tensor, in the spec's order.

    `shapes` (no rows), where they aren't those that a carry begins with. Returns read-only views of
    the bytes, each of its shape (no rows). Any number will do,
    infinities and NaN too: they harm no session but this one. Raises Refusal (bad_carry) where the
    count of tensors is another, or a tensor's size, or where a bool is neither 0 nor 1.
    """
    if len(tensors) != len(spec.carry):
        raise Refusal(
            Reason.BAD_CARRY,
            f"{len(tensors)} carry tensors; {spec.name} carries {len(spec.carry)}",
            found=len(tensors),
            expected=len(spec.carry),
        )
    shapes = shapes or [entry.begins_as for entry in spec.carry]
    return tuple(map(_array, spec.carry, tensors, shapes))


def random(spec: ModelSpec, seed: int, scale: float = 1.0) -> Rows:
    """Normal numbers with mean 0 and standard deviation `scale`, each of the entry's shape.

    The same for the same seed (0 to 2**64 - 1), drawn in the spec's order; tensors that are not
    floating point begin as always. Raises Refusal (bad_carry) for a scale that is negative or not
    finite, or that takes a number out of its type's range.
    """
    if not 0.0 <= scale < math.inf:
        raise Refusal(
            Reason.BAD_CARRY, f"scale is {scale}; it must be finite and 0 or more", field="scale"
        )
    generator = np.random.default_rng(seed)
    return tuple(
        _normal(entry, generator, scale) if entry.dtype.kind == "f" else _beginning(entry)
        for entry in spec.carry
    )


def _array(entry: CarrySpec, data: bytes, shape: Shape) -> np.ndarray:
    if entry.dtype.kind == "O":
        raise Refusal(
            Reason.BAD_CARRY,
            f"carry tensor {entry.input_name!r} is text, which no session can begin with",
            tensor=entry.input_name,
        )
    size_bytes = math.prod(shape) * entry.dtype.itemsize
    if len(data) != size_bytes:
        raise Refusal(
            Reason.BAD_CARRY,
            f"carry tensor {entry.input_name!r} has {len(data)} bytes, not {size_bytes}",
            tensor=entry.input_name,
            found=len(data),
            expected=size_bytes,
        )
    if entry.dtype.kind == "b" and max(data, default=0) > 1:
        raise Refusal(
            Reason.BAD_CARRY,
            f"carry tensor {entry.input_name!r} has the byte {max(data)}; a bool is 0 or 1",
            tensor=entry.input_name,
            found=max(data),
            expected="0 or 1",
        )
    return np.frombuffer(data, entry.dtype.newbyteorder("<")).reshape(shape)


def _beginning(entry: CarrySpec) -> np.ndarray:
    if entry.dtype.kind == "O":
        empty = [""] * math.prod(entry.begins_as)
        elements = strings.unpack(entry.initial) if entry.initial else empty
        return strings.as_array(elements, entry.begins_as)
    if not entry.initial:
        return np.zeros(entry.begins_as, entry.dtype)
    return np.frombuffer(entry.initial, entry.dtype).reshape(entry.begins_as)


def _normal(entry: CarrySpec, generator: np.random.Generator, scale: float) -> np.ndarray:
    # Drawn as float64 whatever the type, so that models of another type begin alike.
    with np.errstate(over="ignore"):
        drawn = (generator.standard_normal(entry.begins_as) * scale).astype(entry.dtype)
    if not np.isfinite(drawn).all():
        raise Refusal(
            Reason.BAD_CARRY,
            f"scale is {scale}: carry tensor {entry.input_name!r} is {entry.dtype}, "
            "which has no numbers as large",
            field="scale",
            tensor=entry.input_name,
        )
    return drawn
