"""A trained `LanguageModel` in plain NumPy, step by step, in float64 or float32.

x_t = E[token_t]
y_t = the cell's layers, one after the other
logits_t = W_hy y_t + b_y
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from rnnserve_models.language_model import LanguageModel, ModelShape
from rnnserve_models.reference import gru, lstm, mingru, rnn, tcn, unpack
from rnnserve_models.reference.rnn import Array
from rnnserve_models.reference.stack import Decoder, NumpyCarry, ReferenceCell, Stack


def _rnn(arrays: unpack.Arrays, shape: ModelShape) -> ReferenceCell:
    return Stack(("h",), rnn.step, [unpack.rnn(arrays, n) for n in range(shape.layers)])


def _lstm(arrays: unpack.Arrays, shape: ModelShape) -> ReferenceCell:
    return Stack(("h", "c"), lstm.step, [unpack.lstm(arrays, n) for n in range(shape.layers)])


def _gru(arrays: unpack.Arrays, shape: ModelShape) -> ReferenceCell:
    return Stack(("h",), gru.step, [unpack.gru(arrays, n) for n in range(shape.layers)])


def _mingru(arrays: unpack.Arrays, shape: ModelShape) -> ReferenceCell:
    return Stack(("h",), mingru.step, [unpack.mingru(arrays, n) for n in range(shape.layers)])


def _tcn(arrays: unpack.Arrays, shape: ModelShape) -> ReferenceCell:
    layers = [unpack.tcn(arrays, n, shape.kernel) for n in range(shape.layers)]
    return Stack(("x", "u"), tcn.step, layers)


def _attention(arrays: unpack.Arrays, shape: ModelShape) -> ReferenceCell:
    return Decoder(unpack.attention(arrays, shape.layers, shape.heads))


REFERENCE_CELLS: dict[str, Callable[[unpack.Arrays, ModelShape], ReferenceCell]] = {
    "rnn": _rnn,
    "lstm": _lstm,
    "gru": _gru,
    "tcn": _tcn,
    "attention": _attention,
    "mingru": _mingru,
}
"""The oracle of every cell, from the cell's parameters by name."""


class ReferenceLanguageModel:
    """`(carry, tokens) -> (carry, logits)` with a `LanguageModel`'s weights, without torch.

    Args:
        model: the model whose weights are copied; dropout is not applied.
        dtype: float64 for a reference, float32 for an equal; counters stay int64.
    """

    def __init__(self, model: LanguageModel, dtype: npt.DTypeLike = np.float64) -> None:
        self.dtype = np.dtype(dtype)
        arrays: dict[str, Array] = {
            name: tensor.detach().cpu().numpy().astype(self.dtype)
            for name, tensor in model.state_dict().items()
        }
        of_cell = {
            name.removeprefix("cell."): array
            for name, array in arrays.items()
            if name.startswith("cell.")
        }
        self.cell = REFERENCE_CELLS[model.shape.cell](of_cell, model.shape)
        self.E = arrays["embedding.weight"]  # (V, E)
        self.W_hy = arrays["readout.weight"]  # (V, H)
        self.b_y = arrays["readout.bias"]  # (V,)
        self._carry_shapes = {
            name: (entry.shape, self.dtype if entry.dtype.is_floating_point else np.dtype(np.int64))
            for name, entry in model.carry_shapes().items()
        }

    def initial_carry(self, batch: int) -> NumpyCarry:
        """Zeros: h0, c0, h1, c1, ... as the cell has them, each batch-first."""
        return {
            name: np.zeros((batch, *shape), dtype)
            for name, (shape, dtype) in self._carry_shapes.items()
        }

    def __call__(
        self, carry: NumpyCarry, tokens: npt.NDArray[np.integer]
    ) -> tuple[NumpyCarry, Array]:
        """Run tokens (B, T), T >= 1; return the carry after the last and logits (B, T, V)."""
        logits = []
        for tokens_t in tokens.T:  # (B,)
            carry, y = self.cell(carry, self.E[tokens_t])  # (B, H)
            logits.append(y @ self.W_hy.T + self.b_y)  # (B, V)
        return carry, np.stack(logits, axis=1)  # (B, T, V)
