"""From torch's packed gate matrices to the letters of the equations.

torch stacks the gates along the first axis (LSTM: i, f, g, o; GRU: r, z, n) and keeps two biases.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from rnnserve_models.reference.gru import GRUWeights
from rnnserve_models.reference.lstm import LSTMWeights
from rnnserve_models.reference.rnn import Array, RNNWeights

Arrays = Mapping[str, Array]
"""A torch module's parameters by name: `weight_ih_l0` (gates*H, F), `bias_hh_l0` (gates*H,), ..."""


def rnn(arrays: Arrays, layer: int) -> RNNWeights:
    """One layer of `torch.nn.RNN`; its two biases are only ever added, so they become one."""
    W_xh, W_hh, b_x, b_h = _packed(arrays, layer)
    return RNNWeights(W_xh=W_xh, W_hh=W_hh, b_h=b_x + b_h)


def lstm(arrays: Arrays, layer: int) -> LSTMWeights:
    """One layer of `torch.nn.LSTM`; its two biases are only ever added, so they become one."""
    W_x, W_h, b_x, b_h = _packed(arrays, layer)
    return LSTMWeights(
        **_gates("W_x", "ifgo", W_x),
        **_gates("W_h", "ifgo", W_h),
        **_gates("b_", "ifgo", b_x + b_h),
    )


def gru(arrays: Arrays, layer: int) -> GRUWeights:
    """One layer of `torch.nn.GRU`; the candidate keeps both biases: one stands inside the reset."""
    W_x, W_h, b_x, b_h = _packed(arrays, layer)
    input_biases, carry_biases = _gates("", "rzn", b_x), _gates("", "rzn", b_h)
    return GRUWeights(
        **_gates("W_x", "rzn", W_x),
        **_gates("W_h", "rzn", W_h),
        b_r=input_biases["r"] + carry_biases["r"],
        b_z=input_biases["z"] + carry_biases["z"],
        b_xn=input_biases["n"],
        b_hn=carry_biases["n"],
    )


def _packed(arrays: Arrays, layer: int) -> tuple[Array, Array, Array, Array]:
    return (
        arrays[f"weight_ih_l{layer}"],
        arrays[f"weight_hh_l{layer}"],
        arrays[f"bias_ih_l{layer}"],
        arrays[f"bias_hh_l{layer}"],
    )


def _gates(prefix: str, letters: str, packed: Array) -> dict[str, Array]:
    pieces = np.split(packed, len(letters))
    return {prefix + letter: piece for letter, piece in zip(letters, pieces, strict=True)}
