"""minGRU (Feng et al. 2024, section 3.1), one layer, one step.

z_t  = sigma(W_z x_t + b_z)
h'_t = W_h x_t + b_h
h_t  = (1 - z_t) * h_{t-1} + z_t * h'_t
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rnnserve_models.reference.lstm import sigma

Array = npt.NDArray[np.floating]


@dataclass(frozen=True)
class MinGRUWeights:
    """One layer: F inputs, H units; W_* (H, F), b_* (H,)."""

    W_z: Array
    W_h: Array
    b_z: Array
    b_h: Array


def step(weights: MinGRUWeights, carry: tuple[Array], x: Array) -> tuple[tuple[Array], Array]:
    """One step: carry (h,) with h (B, H), x (B, F); returns the new carry and y = h (B, H)."""
    w = weights
    (h,) = carry
    z = sigma(x @ w.W_z.T + w.b_z)  # (B, H)
    h = (1.0 - z) * h + z * (x @ w.W_h.T + w.b_h)  # (B, H)
    return (h,), h
