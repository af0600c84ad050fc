"""A causal Transformer decoder with a window of W keys and values, one step.

    x_t = W_i e_t + b_i                                     e_t: what goes in
  in each layer, for each head with q, k, v of D numbers:
    q_t, k_t, v_t = W_q n(x_t) + b_q, W_k n(x_t) + b_k, W_v n(x_t) + b_v
    a_ts = (R_t q_t) . (R_s k_s) / sqrt(D)                  s = t - W + 1 .. t, and s >= 0
    x_t = x_t + W_o sum_s softmax_s(a_t) v_s + b_o
    x_t = x_t + W_c gelu(W_e m(x_t) + b_e) + b_c
    y_t = f(x_t)

n, m, f are layer norms (Ba et al. 2016): (x - mean) / sqrt(variance + 1e-5) * gain + bias.
gelu(a) = a/2 (1 + tanh(sqrt(2/pi) (a + 0.044715 a^3)))     (Hendrycks & Gimpel 2016)
R_t turns the pair (i, i + D/2) by t w_i, where w_i is 10000^(-2i/D) rounded to whole 2^-24 turns.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.floating]
Counts = npt.NDArray[np.int64]
Norm = tuple[Array, Array]
"""Gain and bias, each (H,)."""

TURN = 1 << 24


@dataclass(frozen=True)
class AttentionWeights:
    """One layer: H units in the stream, heads of D; W_q, W_k, W_v (heads * D, H)."""

    heads: int
    n: Norm
    m: Norm
    W_q: Array
    W_k: Array
    W_v: Array
    W_o: Array
    W_e: Array
    W_c: Array
    b_q: Array
    b_k: Array
    b_v: Array
    b_o: Array
    b_e: Array
    b_c: Array


@dataclass(frozen=True)
class DecoderWeights:
    """Everything: W_i (H, F), b_i (H,), the layers, and the last norm."""

    W_i: Array
    b_i: Array
    layers: tuple[AttentionWeights, ...]
    f: Norm


def step(
    weights: AttentionWeights, carry: tuple[Array, Array], position: Counts, x: Array
) -> tuple[tuple[Array, Array], Array]:
    """One step of one layer.

    carry (k, v): each (B, W, heads * D), the newest last; position (B, 1) steps went before;
    x (B, H).  Returns the new carry and the new x.
    """
    w = weights
    inside = norm(x, w.n)
    q = turned((inside @ w.W_q.T + w.b_q).reshape(len(x), w.heads, -1), position)  # (B, heads, D)
    k = turned((inside @ w.W_k.T + w.b_k).reshape(len(x), w.heads, -1), position)  # (B, heads, D)
    v = inside @ w.W_v.T + w.b_v  # (B, heads * D)
    ks, vs = (
        np.concatenate([past[:, 1:], new.reshape(len(x), 1, -1)], axis=1)
        for past, new in zip(carry, (k, v), strict=True)
    )  # (B, W, heads * D)
    W = ks.shape[1]
    a: Array = np.einsum("bhd,bshd->bhs", q, ks.reshape(len(x), W, w.heads, -1)) / math.sqrt(
        q.shape[2]
    )
    back = np.arange(W - 1, -1, -1)  # steps from each key to now
    a = np.where((back <= position)[:, None], a, -np.inf)  # (B, heads, W)
    share: Array = np.exp(a - a.max(axis=2, keepdims=True))
    share /= share.sum(axis=2, keepdims=True)
    attended = np.einsum("bhs,bshd->bhd", share, vs.reshape(len(x), W, w.heads, -1))
    x = x + attended.reshape(len(x), -1) @ w.W_o.T + w.b_o  # (B, H)
    x = x + gelu(norm(x, w.m) @ w.W_e.T + w.b_e) @ w.W_c.T + w.b_c  # (B, H)
    return (ks, vs), x


def norm(x: Array, gain_and_bias: Norm) -> Array:
    """Layer norm over the last axis."""
    gain, bias = gain_and_bias
    centred = x - x.mean(axis=-1, keepdims=True)
    normal: Array = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-5)
    return normal * gain + bias


def gelu(a: Array) -> Array:
    """The Gaussian error linear unit in its form with tanh."""
    inner = np.tanh(math.sqrt(2.0 / math.pi) * (a + 0.044715 * a**3))
    return 0.5 * a * (1.0 + inner)


def turned(pairs: Array, position: Counts) -> Array:
    """R_t applied to pairs (B, heads, D) at t = position (B, 1)."""
    half = pairs.shape[2] // 2
    w = np.rint(10_000.0 ** (-np.arange(half) / half) / (2 * np.pi) * TURN).astype(np.int64)
    # Whole numbers: t w is exact, and so is what is left after whole turns.
    angle = (position % TURN * w % TURN / TURN * 2 * np.pi).astype(pairs.dtype)[:, None]
    a, b = pairs[..., :half], pairs[..., half:]
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.concatenate([a * cosine - b * sine, a * sine + b * cosine], axis=2)
