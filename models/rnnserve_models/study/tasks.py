"""What an architecture is asked to learn: the interface of a task, and every task by name.

A task makes batches out of a random generator, so that equal seeds see equal examples whatever the
architecture; its held-out examples come from a generator of their own, the same for every fit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

HELD_OUT_SEED = 1_000_003
"""No fit's seed: what is held out is never learnt."""


@dataclass(frozen=True)
class Batch:
    """Inputs x (B, T, F) and targets; the targets' shape is the task's own."""

    x: Tensor
    targets: Tensor


@dataclass(frozen=True)
class Score:
    """How good a model is on what is held out.

    Attributes:
        loss: in the task's own unit, the mean over all that is predicted.
        success: the share of right answers where there are such, else NaN.
    """

    loss: float
    success: float


class Task(Protocol):
    """Something to learn from whole sequences.

    Attributes:
        name: as in results and file names.
        length: T as the papers count it.
        steps: time indices of one sequence.
        inputs, outputs: F and O.
        baseline: the loss of the best answer that ignores the input.
        solved_below: the held-out loss from which on the task counts as solved; 0.0 where there is
            no such line.
    """

    name: str
    length: int
    steps: int
    inputs: int
    outputs: int
    baseline: float
    solved_below: float

    def batch(self, rows: int, generator: torch.Generator) -> Batch:
        """Examples to learn from."""
        ...

    def held_out(self) -> Iterator[Batch]:
        """The same examples every time, none of which is to be learnt."""
        ...

    def trivial_loss(self, batch: Batch) -> float:
        """What the best answer that ignores the input gets on just these examples."""
        ...

    def loss(self, y: Tensor, targets: Tensor) -> Tensor:
        """The mean loss of the readout y (B, T, O), a scalar."""
        ...

    def success(self, y: Tensor, targets: Tensor) -> float:
        """The share of right answers in y (B, T, O); NaN where the task has no such thing."""
        ...


MakeTask = Callable[[int], Task]
"""From a length to a task."""


def tasks() -> dict[str, MakeTask]:
    """Every task of whole sequences, by name."""
    from rnnserve_models.study.adding import Adding
    from rnnserve_models.study.copying import Copying
    from rnnserve_models.study.digits import PermutedDigits, SequentialDigits

    return {
        "adding": Adding,
        "copy": Copying,
        "digits": SequentialDigits,
        "permuted": PermutedDigits,
    }
