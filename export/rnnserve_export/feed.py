"""What a model is fed while it is proved: numbers like those that it will meet."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from rnnserve.repository.spec import ModelSpec, TensorSpec
from rnnserve_export.parity import Arrays, Compute, in_chunks

Range = tuple[float, float]
"""LOW <= x < HIGH."""

REACHED_ROWS = 16
REACHED_STEPS = 40


@dataclass(frozen=True)
class Feed:
    """Where the proof's inputs come from.

    An input with a range is drawn from it evenly. Another floating-point one is normal, with the
    example's mean and standard deviation; another of whole numbers takes the example's own values.
    """

    spec: ModelSpec
    example: Arrays
    """Inputs (B, T, ...) as the model will meet them."""
    ranges: Mapping[str, Range] = field(default_factory=dict)

    def draw(self, B: int, T: int, rng: np.random.Generator) -> Arrays:
        """Inputs (B, T, ...); both ends of every range of whole numbers occur."""
        return {tensor.name: self._draw(tensor, B, T, rng) for tensor in self.spec.inputs}

    def as_met(self, B: int, T: int) -> Arrays:
        """The example's steps, its rows one behind the other, repeated where they are too few."""
        return {
            tensor.name: np.resize(self.example[tensor.name], (B, T, *tensor.shape))
            for tensor in self.spec.inputs
        }

    def _draw(self, tensor: TensorSpec, B: int, T: int, rng: np.random.Generator) -> np.ndarray:
        shape, example = (B, T, *tensor.shape), self.example[tensor.name]
        bounds = self.ranges.get(tensor.name)
        if tensor.dtype.kind == "b":
            return rng.integers(0, 2, shape).astype(tensor.dtype)
        if tensor.dtype.kind == "f":
            if bounds is not None:
                return rng.uniform(*bounds, shape).astype(tensor.dtype)
            spread = float(example.std()) or 1.0
            return rng.normal(float(example.mean()), spread, shape).astype(tensor.dtype)
        if bounds is None:
            return rng.choice(example.ravel(), shape)
        low, high = map(int, bounds)
        drawn = rng.integers(low, high, shape, dtype=tensor.dtype)
        drawn.flat[0], drawn.flat[-1] = low, high - 1
        return drawn


def zero_carry(spec: ModelSpec, B: int) -> Arrays:
    """The carry before the first step."""
    return {e.input_name: np.zeros((B, *e.shape), e.dtype) for e in spec.carry}


class Reached:
    """Carries that a model comes to: whatever is in them is what it can meet."""

    def __init__(self, compute: Compute, feed: Feed, rng: np.random.Generator) -> None:
        """Run single steps of random inputs; each kept row stops after another number of them."""
        carry, inputs = (
            zero_carry(feed.spec, REACHED_ROWS),
            feed.draw(REACHED_ROWS, REACHED_STEPS, rng),
        )
        ends = rng.integers(1, REACHED_STEPS + 1, REACHED_ROWS)
        kept = {name: array.copy() for name, array in carry.items()}
        for step in range(REACHED_STEPS):
            one = {name: array[:, step : step + 1] for name, array in inputs.items()}
            carry, _ = in_chunks(compute, carry, one, (1,))
            for name, array in carry.items():
                kept[name][ends == step + 1] = array[ends == step + 1]
        self._kept = kept

    def draw(self, B: int, rng: np.random.Generator) -> Arrays:
        """A carry of B rows, each (B, ...)."""
        rows = rng.integers(0, REACHED_ROWS, B)
        return {name: array[rows] for name, array in self._kept.items()}
