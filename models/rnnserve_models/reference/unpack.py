"""From the parameters of a cell to the letters of its equations.

torch stacks the gates along the first axis (LSTM: i, f, g, o; GRU: r, z, n) and keeps two biases.
The project's own cells stack what one product computes: minGRU z, h; attention q, k, v; and a
convolution's taps side by side, the oldest first.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from rnnserve_models.reference.attention import AttentionWeights, DecoderWeights, Norm
from rnnserve_models.reference.gru import GRUWeights
from rnnserve_models.reference.lstm import LSTMWeights
from rnnserve_models.reference.mingru import MinGRUWeights
from rnnserve_models.reference.rnn import Array, RNNWeights
from rnnserve_models.reference.tcn import TCNWeights

Arrays = Mapping[str, Array]
"""A cell's parameters by name: `net.weight_ih_l0` (gates*H, F), `blocks.0.first.bias` (H,), ..."""


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


def mingru(arrays: Arrays, layer: int) -> MinGRUWeights:
    """One layer of `MinGRU`."""
    return MinGRUWeights(
        **_gates("W_", "zh", arrays[f"drives.{layer}.weight"]),
        **_gates("b_", "zh", arrays[f"drives.{layer}.bias"]),
    )


def tcn(arrays: Arrays, layer: int, kernel: int) -> TCNWeights:
    """One block of `TCN`; the way around it is the identity where there is no matrix."""
    block = _below(arrays, f"blocks.{layer}.")
    H = len(block["first.bias"])
    dtype = block["first.bias"].dtype
    return TCNWeights(
        d=2**layer,
        W_u=_taps(block["first.weight"], kernel),
        W_v=_taps(block["second.weight"], kernel),
        W_r=block.get("around.weight", np.eye(H, dtype=dtype)),
        b_u=block["first.bias"],
        b_v=block["second.bias"],
        b_r=block.get("around.bias", np.zeros(H, dtype)),
    )


def attention(arrays: Arrays, layers: int, heads: int) -> DecoderWeights:
    """All of `Attention`."""
    return DecoderWeights(
        W_i=arrays["into.weight"],
        b_i=arrays["into.bias"],
        layers=tuple(
            _decoder_layer(_below(arrays, f"layers.{layer}."), heads) for layer in range(layers)
        ),
        f=_norm(arrays, "norm"),
    )


def _decoder_layer(arrays: Arrays, heads: int) -> AttentionWeights:
    return AttentionWeights(
        heads=heads,
        n=_norm(arrays, "norm_attention"),
        m=_norm(arrays, "norm_perceptron"),
        **_gates("W_", "qkv", arrays["queries_keys_values.weight"]),
        **_gates("b_", "qkv", arrays["queries_keys_values.bias"]),
        W_o=arrays["attended.weight"],
        b_o=arrays["attended.bias"],
        W_e=arrays["expand.weight"],
        b_e=arrays["expand.bias"],
        W_c=arrays["contract.weight"],
        b_c=arrays["contract.bias"],
    )


def _below(arrays: Arrays, prefix: str) -> Arrays:
    return {
        name.removeprefix(prefix): array
        for name, array in arrays.items()
        if name.startswith(prefix)
    }


def _norm(arrays: Arrays, name: str) -> Norm:
    return arrays[f"{name}.weight"], arrays[f"{name}.bias"]


def _taps(side_by_side: Array, kernel: int) -> Array:
    """(H, kernel * F) with the oldest tap first to (kernel, H, F) with the newest first."""
    return np.stack(np.split(side_by_side, kernel, axis=1)[::-1])


def _packed(arrays: Arrays, layer: int) -> tuple[Array, Array, Array, Array]:
    return (
        arrays[f"net.weight_ih_l{layer}"],
        arrays[f"net.weight_hh_l{layer}"],
        arrays[f"net.bias_ih_l{layer}"],
        arrays[f"net.bias_hh_l{layer}"],
    )


def _gates(prefix: str, letters: str, packed: Array) -> dict[str, Array]:
    pieces = np.split(packed, len(letters))
    return {prefix + letter: piece for letter, piece in zip(letters, pieces, strict=True)}
