"""Elman's network (Finding structure in time, 1990), one layer, one step.

h_t = tanh(W_xh x_t + W_hh h_{t-1} + b_h)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.floating]


@dataclass(frozen=True)
class RNNWeights:
    """One layer: F inputs, H units."""

    W_xh: Array  # (H, F)
    W_hh: Array  # (H, H)
    b_h: Array  # (H,)


def step(weights: RNNWeights, carry: tuple[Array], x: Array) -> tuple[tuple[Array], Array]:
    """One step: carry (h,) with h (B, H), x (B, F); returns the new carry and y = h (B, H)."""
    w = weights
    (h,) = carry
    h = np.tanh(x @ w.W_xh.T + h @ w.W_hh.T + w.b_h)  # (B, H)
    return (h,), h
