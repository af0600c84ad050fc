"""RNN, GRU and LSTM in torch's fused kernels; the carry is h0, h1, ... (and c0, c1, ...)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rnnserve_models.cells.protocol import Carry, CarryShape, zeros


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
        return zeros(self.carry_shapes(), batch, next(self.net.parameters()).device)

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
