"""What a foreign graph is fed while it is tried: zeros, or numbers that tell its rows apart."""

from dataclasses import dataclass

import numpy as np

from rnnserve.engine.initial import beginning
from rnnserve.engine.slots import Rows
from rnnserve.repository.spec import FREE, CarrySpec, ModelSpec, TensorSpec

ROW_SCALES = (1.0, 4.0, 0.25, 2.0, 0.5)
"""Rows of unlike size: what is shared over a batch shows."""
WORDS = ("", "a", "be", "sea")


@dataclass(frozen=True)
class Kind:
    """Which numbers: a graph may take only some of them (for a logarithm, an index, a length)."""

    floats: str
    integers: str

    @property
    def tells_apart(self) -> bool:
        """Whether rows and steps get unlike numbers."""
        return (self.floats, self.integers) != (ZEROS, LEAST)


NORMAL, POSITIVE, ZEROS = "normal", "between 0 and 1", "zeros"
ANY, LEAST, ONE = "any", "the least", "one"
KINDS = (
    Kind(NORMAL, ANY),
    Kind(POSITIVE, ANY),
    Kind(NORMAL, ONE),
    Kind(NORMAL, LEAST),
    Kind(POSITIVE, LEAST),
    Kind(ZEROS, LEAST),
)
"""Tried in this order."""


def carry_of(spec: ModelSpec, rows: int, seed: int) -> Rows:
    """The carry of new sessions, each (B, ...); what they set once is random."""
    rng = np.random.default_rng(seed)
    return tuple(
        np.stack([first] * rows) if entry.output_name else _array(entry, (rows,), first.shape, rng)
        for entry, first in zip(spec.carry, beginning(spec), strict=True)
    )


def inputs_of(
    spec: ModelSpec, rows: int, steps: int, size: int, kind: Kind, rng: np.random.Generator
) -> Rows:
    """One message for each row: inputs (B, T, ...), whose free dimensions are `size`."""
    return tuple(
        _array(tensor, (rows, steps), _filled(tensor.shape, size), rng, kind)
        for tensor in spec.inputs
    )


def _filled(shape: tuple[int, ...], size: int) -> tuple[int, ...]:
    return tuple(size if dim == FREE else dim for dim in shape)


def _array(
    tensor: TensorSpec | CarrySpec,
    outer: tuple[int, ...],
    shape: tuple[int, ...],
    rng: np.random.Generator,
    kind: Kind = KINDS[0],
) -> np.ndarray:
    whole = (*outer, *shape)
    if tensor.dtype.kind == "f":
        if kind.floats is ZEROS:
            return np.zeros(whole, tensor.dtype)
        numbers = rng.standard_normal(whole) if kind.floats is NORMAL else rng.random(whole)
        scales = np.resize(ROW_SCALES, (outer[0], *[1] * (len(whole) - 1)))
        scaled: np.ndarray = (numbers * scales).astype(tensor.dtype)
        return scaled
    if tensor.dtype.kind == "O":
        words = rng.choice(WORDS[:1] if kind.integers is LEAST else WORDS, whole)
        return words.astype(object)
    low, high = _range(tensor)
    match kind.integers:
        case "any":
            return rng.integers(low, high, whole).astype(tensor.dtype)
        case "the least":
            return np.full(whole, low, tensor.dtype)
        case _:
            return np.full(whole, min(low + 1, high - 1), tensor.dtype)


def _range(tensor: TensorSpec | CarrySpec) -> tuple[int, int]:
    """Integers whose range nobody knows are 0 or 1: most graphs take those."""
    low, high = getattr(tensor, "low", None), getattr(tensor, "high", None)
    return low or 0, 2 if high is None else high
