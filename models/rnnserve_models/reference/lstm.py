"""Long short-term memory (Hochreiter & Schmidhuber 1997; forget gate: Gers 2000), one step.

i_t = sigma(W_xi x_t + W_hi h_{t-1} + b_i)      input gate
f_t = sigma(W_xf x_t + W_hf h_{t-1} + b_f)      forget gate
g_t = tanh (W_xg x_t + W_hg h_{t-1} + b_g)      candidate
o_t = sigma(W_xo x_t + W_ho h_{t-1} + b_o)      output gate
c_t = f_t * c_{t-1} + i_t * g_t
h_t = o_t * tanh(c_t)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.floating]


@dataclass(frozen=True)
class LSTMWeights:
    """One layer: F inputs, H units; W_x* (H, F), W_h* (H, H), b_* (H,)."""

    W_xi: Array
    W_xf: Array
    W_xg: Array
    W_xo: Array
    W_hi: Array
    W_hf: Array
    W_hg: Array
    W_ho: Array
    b_i: Array
    b_f: Array
    b_g: Array
    b_o: Array


def sigma(a: Array) -> Array:
    """The logistic function, through tanh because exp(-a) overflows for large negative a."""
    half: Array = np.tanh(0.5 * a)
    return 0.5 * (1.0 + half)


def step(
    weights: LSTMWeights, carry: tuple[Array, Array], x: Array
) -> tuple[tuple[Array, Array], Array]:
    """One step: carry (h, c), each (B, H), x (B, F); returns the new carry and y = h (B, H)."""
    w = weights
    h, c = carry
    i = sigma(x @ w.W_xi.T + h @ w.W_hi.T + w.b_i)  # (B, H)
    f = sigma(x @ w.W_xf.T + h @ w.W_hf.T + w.b_f)  # (B, H)
    g = np.tanh(x @ w.W_xg.T + h @ w.W_hg.T + w.b_g)  # (B, H)
    o = sigma(x @ w.W_xo.T + h @ w.W_ho.T + w.b_o)  # (B, H)
    c = f * c + i * g  # (B, H)
    h = o * np.tanh(c)  # (B, H)
    return (h, c), h
