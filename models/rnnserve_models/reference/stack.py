"""From one layer to a whole cell: `(carry, x) -> (carry, y)` by name, one step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from rnnserve_models.reference import attention
from rnnserve_models.reference.attention import DecoderWeights
from rnnserve_models.reference.rnn import Array

NumpyCarry = dict[str, npt.NDArray[Any]]
ReferenceCell = Callable[[NumpyCarry, Array], tuple[NumpyCarry, Array]]
"""One step of a cell: x (B, F) to y (B, H)."""


@dataclass(frozen=True)
class Stack:
    """Layers of one kind, one upon the other, each with a carry of its own.

    Attributes:
        kinds: the letters of the carry entries that each layer has.
        step: one step of one layer.
        layers: the weights of each.
    """

    kinds: tuple[str, ...]
    step: Callable[[Any, Any, Array], tuple[tuple[Array, ...], Array]]
    layers: list[Any]

    def __call__(self, carry: NumpyCarry, x: Array) -> tuple[NumpyCarry, Array]:
        after: NumpyCarry = {}
        for layer, weights in enumerate(self.layers):
            names = [f"{kind}{layer}" for kind in self.kinds]
            entries, x = self.step(weights, tuple(carry[name] for name in names), x)
            after |= zip(names, entries, strict=True)
        return after, x


@dataclass(frozen=True)
class Decoder:
    """Attention layers, which share one count of the steps so far."""

    weights: DecoderWeights

    def __call__(self, carry: NumpyCarry, x: Array) -> tuple[NumpyCarry, Array]:
        position = carry["position"]  # (B, 1) int64
        w = self.weights
        x = x @ w.W_i.T + w.b_i  # (B, H)
        after: NumpyCarry = {}
        for layer, weights in enumerate(w.layers):
            k, v = f"k{layer}", f"v{layer}"
            (after[k], after[v]), x = attention.step(weights, (carry[k], carry[v]), position, x)
        return {**after, "position": position + 1}, attention.norm(x, w.f)
