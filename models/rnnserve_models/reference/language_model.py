"""A trained `LanguageModel` in plain NumPy, step by step, in float64 or float32.

x_t = E[token_t]
y_t = the cell's layers, one after the other
logits_t = W_hy y_t + b_y
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rnnserve_models.language_model import LanguageModel
from rnnserve_models.reference import gru, lstm, rnn, unpack
from rnnserve_models.reference.rnn import Array

NumpyCarry = dict[str, Array]


@dataclass(frozen=True)
class ReferenceCell:
    """What the oracle needs of a cell: its carry's letters, torch's packing, and one step."""

    kinds: tuple[str, ...]
    unpack: Callable[[unpack.Arrays, int], Any]
    step: Callable[[Any, Any, Array], tuple[tuple[Array, ...], Array]]


REFERENCE_CELLS = {
    "rnn": ReferenceCell(("h",), unpack.rnn, rnn.step),
    "lstm": ReferenceCell(("h", "c"), unpack.lstm, lstm.step),
    "gru": ReferenceCell(("h",), unpack.gru, gru.step),
}


class ReferenceLanguageModel:
    """`(carry, tokens) -> (carry, logits)` with a `LanguageModel`'s weights, without torch.

    Args:
        model: the model whose weights are copied; dropout is not applied.
        dtype: float64 for a reference, float32 for an equal.
    """

    def __init__(self, model: LanguageModel, dtype: npt.DTypeLike = np.float64) -> None:
        self.dtype = np.dtype(dtype)
        arrays: dict[str, Array] = {
            name: tensor.detach().cpu().numpy().astype(self.dtype)
            for name, tensor in model.state_dict().items()
        }
        packed = {
            name.removeprefix("cell.net."): array
            for name, array in arrays.items()
            if name.startswith("cell.net.")
        }
        self.cell = REFERENCE_CELLS[model.shape.cell]
        self.layers = [self.cell.unpack(packed, layer) for layer in range(model.shape.layers)]
        self.hidden = model.shape.hidden
        self.E = arrays["embedding.weight"]  # (V, E)
        self.W_hy = arrays["readout.weight"]  # (V, H)
        self.b_y = arrays["readout.bias"]  # (V,)

    def initial_carry(self, batch: int) -> NumpyCarry:
        """Zeros: h0, c0, h1, c1, ... as the cell has them, each (B, H)."""
        return {
            f"{kind}{layer}": np.zeros((batch, self.hidden), self.dtype)
            for layer in range(len(self.layers))
            for kind in self.cell.kinds
        }

    def __call__(
        self, carry: NumpyCarry, tokens: npt.NDArray[np.integer]
    ) -> tuple[NumpyCarry, Array]:
        """Run tokens (B, T), T >= 1; return the carry after the last and logits (B, T, V)."""
        logits = []
        for tokens_t in tokens.T:  # (B,)
            carry, y = self._step(carry, self.E[tokens_t])  # (B, H)
            logits.append(y @ self.W_hy.T + self.b_y)  # (B, V)
        return carry, np.stack(logits, axis=1)  # (B, T, V)

    def _step(self, carry: NumpyCarry, x: Array) -> tuple[NumpyCarry, Array]:
        after: NumpyCarry = {}
        for layer, weights in enumerate(self.layers):
            names = [f"{kind}{layer}" for kind in self.cell.kinds]
            entries, x = self.cell.step(weights, tuple(carry[name] for name in names), x)
            after |= zip(names, entries, strict=True)
        return after, x
