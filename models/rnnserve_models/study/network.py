"""A cell with a linear readout."""

from __future__ import annotations

from torch import Tensor, nn

from rnnserve_models.cells import CELLS, Carry, Cell
from rnnserve_models.study.fit import Fit
from rnnserve_models.study.tasks import Task
from rnnserve_models.study.variants import VARIANTS


class Network(nn.Module):
    """`(carry, x) -> (carry, y)` for x (B, T, F) and y (B, T, O).

    Attributes:
        cell: what carries something from step to step.
        readout: from the cell's output (B, T, H).
    """

    def __init__(self, fit: Fit, task: Task) -> None:
        super().__init__()
        variant = VARIANTS[fit.variant]
        self.cell: Cell = CELLS[variant.cell](
            task.inputs, fit.hidden, fit.layers, 0.0, **fit.own_options
        )
        assert isinstance(self.cell, nn.Module)
        variant.prepare(self.cell)
        self.readout = nn.Linear(self.cell.output_width, task.outputs)

    def initial_carry(self, batch: int) -> Carry:
        """The carry before the first step."""
        return self.cell.initial_carry(batch)

    def forward(self, carry: Carry, x: Tensor) -> tuple[Carry, Tensor]:
        carry, y = self.cell(carry, x)  # (B, T, H)
        return carry, self.readout(y)  # (B, T, O)

    def answer(self, x: Tensor) -> Tensor:
        """The readout y (B, T, O) of whole sequences."""
        y: Tensor = self(self.initial_carry(len(x)), x)[1]
        return y
