"""Copy memory (after Hochreiter & Schmidhuber 1997), in the form of Bai, Kolter & Koltun (2018).

    input    ten symbols out of 1..8, then T - 1 blanks (0), then eleven marks (9): T + 20 steps
    target   T + 10 blanks, then the ten symbols, at the last ten marks

The first mark says that the symbols are wanted next. Who knows all but the symbols answers blanks
and then guesses among eight: 10 ln 8 / (T + 20) nats a step.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from rnnserve_models.study.tasks import HELD_OUT_SEED, Batch

SYMBOLS, REMEMBERED = 8, 10
BLANK, MARK = 0, 9
HELD_OUT_ROWS, HELD_OUT_BATCHES = 64, 8


class Copying:
    """Copy memory over T steps of nothing. Targets are (B, T + 20) int64."""

    name = "copy"
    inputs = outputs = SYMBOLS + 2

    def __init__(self, length: int) -> None:
        self.length, self.steps = length, length + 2 * REMEMBERED
        self.baseline = REMEMBERED * math.log(SYMBOLS) / self.steps
        self.solved_below = 0.1 * self.baseline

    def batch(self, rows: int, generator: torch.Generator) -> Batch:
        symbols = torch.randint(1, SYMBOLS + 1, (rows, REMEMBERED), generator=generator)
        tokens = torch.full((rows, self.steps), BLANK)  # (B, T)
        targets = tokens.clone()
        tokens[:, :REMEMBERED] = symbols
        tokens[:, -REMEMBERED - 1 :] = MARK
        targets[:, -REMEMBERED:] = symbols
        return Batch(nn.functional.one_hot(tokens, self.inputs).float(), targets)

    def held_out(self) -> Iterator[Batch]:
        generator = torch.Generator().manual_seed(HELD_OUT_SEED)
        return (self.batch(HELD_OUT_ROWS, generator) for _ in range(HELD_OUT_BATCHES))

    def trivial_loss(self, batch: Batch) -> float:
        return self.baseline

    def loss(self, y: Tensor, targets: Tensor) -> Tensor:
        return nn.functional.cross_entropy(y.flatten(0, 1), targets.flatten())

    def success(self, y: Tensor, targets: Tensor) -> float:
        """The share of the ten symbols that came out right."""
        found = y[:, -REMEMBERED:].argmax(dim=-1)
        return (found == targets[:, -REMEMBERED:]).float().mean().item()
