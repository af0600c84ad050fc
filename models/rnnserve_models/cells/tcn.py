"""Temporal convolutional network (Bai, Kolter & Koltun 2018, arXiv 1803.01271).

Layer l is a block of two causal convolutions whose taps lie d = 2**l steps apart:

    u_t = ReLU(sum_i W_u[i] x_{t-i d} + b_u)
    v_t = ReLU(sum_i W_v[i] u_{t-i d} + b_v)
    y_t = ReLU(v_t + x_t), with W_r x_t + b_r for x_t where the widths differ

The carry is what the taps of each convolution reach back to: the last (kernel - 1) d inputs of the
first as xl and of the second as ul, oldest first, zeros before the first step.  It moves along by
T steps in a call, so no step has to be counted.

The paper normalises the weights (Salimans & Kingma 2016).  Here they are plain: with the initial
values below that brought nothing (models/EXPERIMENTS.md), and the served graph is smaller.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from rnnserve_models.cell_options import KERNEL
from rnnserve_models.cells.protocol import Carry, CarryShape, zeros


class CausalConvolution(nn.Module):
    """Taps `dilation` steps apart, as one matrix product: the taps side by side.

    Attributes:
        weight: (H, kernel * F), the oldest tap first.
        bias: (H,)
        reach_steps: how many steps before the first one it looks at.
    """

    def __init__(self, width: int, hidden: int, kernel: int, dilation: int) -> None:
        super().__init__()
        self.width = width
        self.dilation = dilation
        self.reach_steps = (kernel - 1) * dilation
        self.weight = nn.Parameter(torch.empty(hidden, kernel * width))
        self.bias = nn.Parameter(torch.zeros(hidden))
        # He et al. 2015: a ReLU halves the variance.
        nn.init.kaiming_normal_(self.weight, nonlinearity="relu")

    def forward(self, before: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Run x (B, T, F) after the steps `before` (B, R, F); return the last R steps and y."""
        T = x.shape[1]
        line = torch.cat([before, x.to(before.dtype)], dim=1)  # (B, R + T, F)
        taps = [
            line[:, start : start + T] for start in range(0, self.reach_steps + 1, self.dilation)
        ]
        y = nn.functional.linear(torch.cat(taps, dim=2), self.weight, self.bias)  # (B, T, H)
        return line[:, T:], y


class Block(nn.Module):
    """Two causal convolutions and a way around them."""

    def __init__(self, width: int, hidden: int, kernel: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.first = CausalConvolution(width, hidden, kernel, dilation)
        self.second = CausalConvolution(hidden, hidden, kernel, dilation)
        self.around = nn.Linear(width, hidden) if width != hidden else nn.Identity()
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_before: Tensor, u_before: Tensor, x: Tensor) -> tuple[Tensor, ...]:
        """Run x (B, T, F); return the two buffers after the last step and y (B, T, H)."""
        x_after, u = self.first(x_before, x)
        u = self.dropout(torch.relu(u))
        u_after, v = self.second(u_before, u)
        v = self.dropout(torch.relu(v))
        return x_after, u_after, torch.relu(v + self.around(x))


class TCN(nn.Module):
    """Blocks with dilation 1, 2, 4, ...  Carry: x0, u0, x1, u1, ...

    y_t depends on the last 1 + 2 (kernel - 1) (2**layers - 1) steps and on nothing before.
    """

    def __init__(
        self, width: int, hidden: int, layers: int, dropout: float, *, kernel: int = KERNEL
    ) -> None:
        super().__init__()
        if kernel < 2:
            raise ValueError(f"a convolution with kernel {kernel} sees no past: give 2 or more")
        self.output_width = hidden
        self.blocks = nn.ModuleList(
            Block(hidden if layer else width, hidden, kernel, 2**layer, dropout)
            for layer in range(layers)
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """As He 2015, and every branch 1/sqrt(layers) as wide: the sum of all then stays bounded
        however many there are (the rule of Zhang et al. 2019, Fixup, for branches of two)."""
        with torch.no_grad():
            for block in self.blocks:
                assert isinstance(block, Block)
                block.second.weight.div_(math.sqrt(len(self.blocks)))
                if isinstance(block.around, nn.Linear):
                    nn.init.xavier_uniform_(block.around.weight)
                    nn.init.zeros_(block.around.bias)

    def carry_shapes(self) -> dict[str, CarryShape]:
        dtype = next(self.parameters()).dtype
        shapes = {}
        for layer, block in enumerate(self.blocks):
            assert isinstance(block, Block)
            for letter, part in (("x", block.first), ("u", block.second)):
                shapes[f"{letter}{layer}"] = CarryShape((part.reach_steps, part.width), dtype)
        return shapes

    def initial_carry(self, batch: int) -> Carry:
        return zeros(self.carry_shapes(), batch, next(self.parameters()).device)

    def forward(self, carry: Carry, x: Tensor) -> tuple[Carry, Tensor]:
        after: Carry = {}
        for layer, block in enumerate(self.blocks):
            after[f"x{layer}"], after[f"u{layer}"], x = block(
                carry[f"x{layer}"], carry[f"u{layer}"], x
            )
        return after, x
