"""minGRU (Feng et al. 2024, "Were RNNs All We Needed?", arXiv 2410.01201, section 3.1).

    z_t  = sigma(W_z x_t + b_z)              how much of the past is replaced
    h'_t = W_h x_t + b_h                     what replaces it
    h_t  = (1 - z_t) h_{t-1} + z_t h'_t

Neither z nor h' looks at h, so both are computed for all steps at once; what is left is the linear
recurrence of `recurrence.py`, in parallel in training and step by step in a served graph.  The
paper's second form keeps h' positive so that it can work with logarithms; that recurrence here
needs none, and h' may have any sign.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rnnserve_models.cells.protocol import Carry, CarryShape, zeros
from rnnserve_models.cells.recurrence import linear_recurrence


class MinGRU(nn.Module):
    """Layers of minGRU, one upon the other.  Carry: h0, h1, ...

    Attributes:
        drives: for each layer W_z over W_h (2H, F), and their biases.
    """

    def __init__(self, width: int, hidden: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.output_width = hidden
        self.drives = nn.ModuleList(
            nn.Linear(hidden if layer else width, 2 * hidden) for layer in range(layers)
        )
        self.dropout = nn.Dropout(dropout)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Xavier, and b_z = -1: keep 0.73 of the past, as a forget-gate bias of 1 does.

        The paper finds as much for minLSTM; Jozefowicz 2015 found it for the LSTM.
        """
        for drive in self.drives:
            assert isinstance(drive, nn.Linear)
            for part in drive.weight.data.chunk(2):
                nn.init.xavier_uniform_(part)
            nn.init.zeros_(drive.bias)
            nn.init.constant_(drive.bias.data[: self.output_width], -1.0)

    def carry_shapes(self) -> dict[str, CarryShape]:
        shape = CarryShape((self.output_width,), next(self.parameters()).dtype)
        return {f"h{layer}": shape for layer in range(len(self.drives))}

    def initial_carry(self, batch: int) -> Carry:
        return zeros(self.carry_shapes(), batch, next(self.parameters()).device)

    def forward(self, carry: Carry, x: Tensor) -> tuple[Carry, Tensor]:
        after: Carry = {}
        for layer, drive in enumerate(self.drives):
            h = carry[f"h{layer}"]  # (B, H)
            update, candidate = drive(self.dropout(x) if layer else x).to(h.dtype).chunk(2, dim=2)
            keep = torch.sigmoid(-update)  # 1 - z, without the subtraction's rounding
            x = linear_recurrence(h, keep, torch.sigmoid(update) * candidate)  # (B, T, H)
            after[f"h{layer}"] = x[:, -1]
        return after, x
