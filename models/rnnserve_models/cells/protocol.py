"""What a cell is: `(carry, x) -> (carry, y)`, carry first, arrays batch-first.

Only a cell knows what is in its carry: everyone else asks for `initial_carry(batch)`, hands on what
the last call returned, and may look at `carry_shapes()` to learn names, shapes and dtypes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

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
    after the other; rows never influence one another; y_t never depends on a later x; the carry
    given is left as it was.
    """

    output_width: int

    def carry_shapes(self) -> dict[str, CarryShape]:
        """Names, row shapes and dtypes of the carry, in the order of the layers."""
        ...

    def initial_carry(self, batch: int) -> Carry:
        """The carry before the first step, for `batch` rows: zeros, as a server begins."""
        ...

    def __call__(self, carry: Carry, x: Tensor) -> tuple[Carry, Tensor]:
        """Run x (B, T, F), T >= 1; return the carry after the last step and y (B, T, H)."""
        ...


def zeros(shapes: Mapping[str, CarryShape], batch: int, device: torch.device) -> Carry:
    """A carry of zeros for `batch` rows."""
    return {
        name: torch.zeros(batch, *entry.shape, dtype=entry.dtype, device=device)
        for name, entry in shapes.items()
    }
