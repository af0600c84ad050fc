"""Gated recurrent unit (Cho 2014) in cuDNN's form, which resets after the product; one step.

    r_t = sigma(W_xr x_t + W_hr h_{t-1} + b_r)                      reset gate
    z_t = sigma(W_xz x_t + W_hz h_{t-1} + b_z)                      update gate
    n_t = tanh (W_xn x_t + b_xn + r_t * (W_hn h_{t-1} + b_hn))      candidate
    h_t = (1 - z_t) * n_t + z_t * h_{t-1}

Cho's own form multiplies h_{t-1} by r_t before W_hn; the two are different networks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rnnserve_models.reference.lstm import sigma

Array = npt.NDArray[np.floating]


@dataclass(frozen=True)
class GRUWeights:
    """One layer: F inputs, H units; W_x* (H, F), W_h* (H, H), b_* (H,)."""

    W_xr: Array
    W_xz: Array
    W_xn: Array
    W_hr: Array
    W_hz: Array
    W_hn: Array
    b_r: Array
    b_z: Array
    b_xn: Array
    b_hn: Array


def step(weights: GRUWeights, carry: tuple[Array], x: Array) -> tuple[tuple[Array], Array]:
    """One step: carry (h,) with h (B, H), x (B, F); returns the new carry and y = h (B, H)."""
    w = weights
    (h,) = carry
    r = sigma(x @ w.W_xr.T + h @ w.W_hr.T + w.b_r)  # (B, H)
    z = sigma(x @ w.W_xz.T + h @ w.W_hz.T + w.b_z)  # (B, H)
    n = np.tanh(x @ w.W_xn.T + w.b_xn + r * (h @ w.W_hn.T + w.b_hn))  # (B, H)
    h = (1.0 - z) * n + z * h  # (B, H)
    return (h,), h
