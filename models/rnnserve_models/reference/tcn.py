"""A block of a temporal convolutional network (Bai, Kolter & Koltun 2018), one step.

    u_t = ReLU(sum_i W_u[i] x_{t-i d} + b_u)        i = 0 .. kernel - 1
    v_t = ReLU(sum_i W_v[i] u_{t-i d} + b_v)
    y_t = ReLU(v_t + W_r x_t + b_r)                 W_r = 1 and b_r = 0 where the widths agree

d, the dilation, is 1, 2, 4, ... from layer to layer.  What lies before the first step is zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.floating]


@dataclass(frozen=True)
class TCNWeights:
    """One block: F inputs, H channels; W_u (kernel, H, F), W_v (kernel, H, H), W_r (H, F)."""

    d: int
    W_u: Array
    W_v: Array
    W_r: Array
    b_u: Array
    b_v: Array
    b_r: Array


def step(
    weights: TCNWeights, carry: tuple[Array, Array], x: Array
) -> tuple[tuple[Array, Array], Array]:
    """One step: carry (the x, the u before, each (B, (kernel - 1) d, .)), x (B, F); y (B, H)."""
    w = weights
    xs = np.concatenate([carry[0], x[:, None]], axis=1)
    u = np.maximum(convolution(xs, w.W_u, w.d) + w.b_u, 0.0)  # (B, H)
    us = np.concatenate([carry[1], u[:, None]], axis=1)
    v = np.maximum(convolution(us, w.W_v, w.d) + w.b_v, 0.0)  # (B, H)
    y = np.maximum(v + x @ w.W_r.T + w.b_r, 0.0)  # (B, H)
    return (xs[:, 1:], us[:, 1:]), y


def convolution(xs: Array, W: Array, d: int) -> Array:
    """sum_i W[i] x_{t-i d} with xs (B, (kernel - 1) d + 1, F), the newest last; (B, H)."""
    y: Array = sum(xs[:, -1 - i * d] @ W[i].T for i in range(len(W)))
    return y
