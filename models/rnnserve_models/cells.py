"""Recurrent cells: `(carry, x) -> (carry, y)`, carry first, arrays batch-first.

Only a cell knows what is in its carry: everyone else asks for `initial_carry(batch)`, hands on what
the last call returned, and may look at `carry_shapes()` to learn names, shapes and dtypes.  A cell
of another kind (causal convolution, windowed attention, minGRU) adds a class here or in a file of
its own and one line to `CELLS`; nothing else changes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

Carry = dict[str, Tensor]
"""The arrays handed from step to step, by name; every one is batch-first."""


@dataclass(frozen=True)
class CarryShape:
    """What one row of a carry entry looks like: the shape leaves out the batch axis."""

    shape: tuple[int, ...]
    dtype: torch.dtype


class Cell(Protocol):
    """Anything that carries something from step to step.

    The laws: calling with a carry and T steps equals calling with the pieces of those steps one
    after the other; rows never influence one another; the carry given is left as it was.
    """

    output_width: int

    def carry_shapes(self) -> dict[str, CarryShape]:
        """Names, row shapes and dtypes of the carry, in the order of the layers."""
        ...

    def initial_carry(self, batch: int) -> Carry:
        """The carry before the first step, for `batch` rows."""
        ...

    def __call__(self, carry: Carry, x: Tensor) -> tuple[Carry, Tensor]:
        """Run x (B, T, F), T >= 1; return the carry after the last step and y (B, T, H)."""
        ...


class FusedCell(nn.Module):
    """Layers of one kind in torch's fused kernel; the carry is h0, h1, ... (and c0, c1, ...).

    Attributes:
        net: the torch module, with its own parameter names (`weight_ih_l0`, ...).
        kinds: the letters of the carry entries that each layer has.
    """

    kinds: tuple[str, ...] = ("h",)
    net: nn.RNNBase

    def __init__(self, net: nn.RNNBase) -> None:
        super().__init__()
        self.net = net
        self.output_width = net.hidden_size
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Orthogonal recurrent matrices for each gate (Saxe 2013), Xavier inputs, zero biases."""
        hidden = self.net.hidden_size
        for name, weight in self.net.named_parameters():
            if "bias" in name:
                nn.init.zeros_(weight)
                continue
            fill = nn.init.orthogonal_ if "weight_hh" in name else nn.init.xavier_uniform_
            for gate in range(0, len(weight), hidden):
                fill(weight.data[gate : gate + hidden])

    def carry_shapes(self) -> dict[str, CarryShape]:
        shape = CarryShape((self.net.hidden_size,), next(self.net.parameters()).dtype)
        return {
            f"{kind}{layer}": shape for layer in range(self.net.num_layers) for kind in self.kinds
        }

    def initial_carry(self, batch: int) -> Carry:
        device = next(self.net.parameters()).device
        return {
            name: torch.zeros(batch, *entry.shape, dtype=entry.dtype, device=device)
            for name, entry in self.carry_shapes().items()
        }

    def forward(self, carry: Carry, x: Tensor) -> tuple[Carry, Tensor]:
        stacked = tuple(self._stack(carry, kind) for kind in self.kinds)  # each (L, B, H)
        y, after = self.net(x, stacked if len(stacked) > 1 else stacked[0])  # y (B, T, H)
        layers = (after,) if len(stacked) == 1 else after
        # Under bfloat16 autocast the kernel answers in bfloat16, and a bfloat16 carry drifts.
        return {
            f"{kind}{layer}": array[layer].to(carry[f"{kind}{layer}"].dtype)
            for layer in range(self.net.num_layers)
            for kind, array in zip(self.kinds, layers, strict=True)
        }, y

    def _stack(self, carry: Carry, kind: str) -> Tensor:
        return torch.stack([carry[f"{kind}{layer}"] for layer in range(self.net.num_layers)])


class RNN(FusedCell):
    """Elman's network (1990): h = tanh(W_hh h + W_xh x + b).  Carry: h0, h1, ..."""

    def __init__(self, width: int, hidden: int, layers: int, dropout: float) -> None:
        super().__init__(nn.RNN(width, hidden, layers, batch_first=True, dropout=dropout))


class GRU(FusedCell):
    """Gated recurrent unit (Cho 2014), reset after the product as in cuDNN.  Carry: h0, h1, ..."""

    def __init__(self, width: int, hidden: int, layers: int, dropout: float) -> None:
        super().__init__(nn.GRU(width, hidden, layers, batch_first=True, dropout=dropout))


class LSTM(FusedCell):
    """Long short-term memory (1997) with forget gate (Gers 2000).  Carry: h0, c0, h1, c1, ..."""

    kinds = ("h", "c")

    def __init__(self, width: int, hidden: int, layers: int, dropout: float) -> None:
        super().__init__(nn.LSTM(width, hidden, layers, batch_first=True, dropout=dropout))

    def reset_parameters(self) -> None:
        """As for every cell, and a forget-gate bias of 1 in total (Jozefowicz 2015)."""
        super().reset_parameters()
        hidden = self.net.hidden_size
        with torch.no_grad():
            # torch adds two biases: a one in both would make the total two.
            for layer in range(self.net.num_layers):
                getattr(self.net, f"bias_ih_l{layer}")[hidden : 2 * hidden] = 1.0


CELLS: dict[str, Callable[[int, int, int, float], Cell]] = {"rnn": RNN, "lstm": LSTM, "gru": GRU}
"""Every cell by name: `(width, hidden, layers, dropout) -> Cell`.  A new cell is a line here."""
