"""The adding problem (Hochreiter & Schmidhuber 1997), in the form of Bai, Kolter & Koltun (2018).

    x    (B, T, 2)   a number in [0, 1), and a mark: 1 at two steps, 0 at the others
    y    (B, 1)      the sum of the two marked numbers, asked for after the last step

The marks stand anywhere, at two different steps. Who always answers 1, the mean of the sum, is off
by its variance: 1/6.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from rnnserve_models.study.tasks import HELD_OUT_SEED, Batch

HELD_OUT_ROWS, HELD_OUT_BATCHES = 64, 32


class Adding:
    """The adding problem of T steps."""

    name, inputs, outputs = "adding", 2, 1
    baseline = 1 / 6
    solved_below = 0.01

    def __init__(self, length: int) -> None:
        self.length = self.steps = length

    def batch(self, rows: int, generator: torch.Generator) -> Batch:
        numbers = torch.rand(rows, self.length, generator=generator)  # (B, T)
        # The two largest of T random numbers stand at two different steps, all pairs alike.
        where = torch.rand(rows, self.length, generator=generator).topk(2, dim=1).indices
        marks = torch.zeros(rows, self.length).scatter_(1, where, 1.0)  # (B, T)
        x = torch.stack([numbers, marks], dim=-1)  # (B, T, 2)
        return Batch(x, (numbers * marks).sum(dim=1, keepdim=True))

    def held_out(self) -> Iterator[Batch]:
        generator = torch.Generator().manual_seed(HELD_OUT_SEED)
        return (self.batch(HELD_OUT_ROWS, generator) for _ in range(HELD_OUT_BATCHES))

    def trivial_loss(self, batch: Batch) -> float:
        return (batch.targets - 1).square().mean().item()

    def loss(self, y: Tensor, targets: Tensor) -> Tensor:
        return nn.functional.mse_loss(y[:, -1], targets)

    def success(self, y: Tensor, targets: Tensor) -> float:
        return math.nan
