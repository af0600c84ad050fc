"""A fit: one training of one variant on one task; what it is to be, and what came of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

CHARACTERS, FILE = "characters", "file"
"""The tasks of language modelling: the default corpus, and the text that was given."""


@dataclass(frozen=True, kw_only=True)
class Fit:
    """What to train, on what, for how long; plain data.

    Attributes:
        task: a name of `tasks()`, CHARACTERS or FILE.
        length: T; in language modelling the characters that errors flow back through.
        variant: a name of `VARIANTS`.
        seed: of the weights and of the examples.
        hidden, layers: the cell's.
        own_options: what the cell takes beyond these.
        steps: the most updates; a fit may end before.
    """

    task: str
    length: int
    variant: str
    seed: int
    hidden: int
    layers: int
    own_options: dict[str, int]
    steps: int

    @property
    def name(self) -> str:
        """What no other fit of a study is called."""
        return f"{self.task}-{self.length}-{self.variant}-seed{self.seed}"

    def as_key(self) -> tuple[str, int, str, int]:
        """Task, length, variant and seed."""
        return self.task, self.length, self.variant, self.seed

    @property
    def is_text(self) -> bool:
        """Whether it learns a text, and not sequences made for it."""
        return self.task in (CHARACTERS, FILE)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How every fit is trained, whatever the architecture.

    The learning rate rises over `warmup_steps`, stays until `decay_from` of the steps are done and
    falls from there to `last_rate` of itself.  A fit ends at that moment if it has converged to the
    trivial answer: it has never been below `left_below` of what that gets on the same examples, and
    is below `arrived_below` of it.
    """

    batch: int = 32
    learning_rate: float = 4e-3
    warmup_steps: int = 50
    decay_from: float = 2 / 3
    last_rate: float = 0.1
    left_below: float = 0.98
    arrived_below: float = 1.1
    evaluations: int = 20
    solved_margin: float = 0.1
    """A fit ends when its held-out loss is below this part of what counts as solved."""
    scored_characters: int = 50_000
    """Of the validation text, its first so many are scored."""

    def warmth(self, step: int, steps: int) -> float:
        """The share of the learning rate at an update, counted from 0."""
        rise = min(1.0, (step + 1) / self.warmup_steps)
        left = max(0.0, 1 - step / steps) / (1 - self.decay_from)
        return rise * (self.last_rate + (1 - self.last_rate) * min(1.0, left))


class Ended(StrEnum):
    """Why a fit ended."""

    SOLVED = "solved"
    """The held-out loss was far below the line before the budget was spent."""
    STUCK = "stuck"
    """It had converged to the trivial answer when two thirds of the budget were spent."""
    BUDGET = "budget"
    """All its updates were done."""
    DIVERGED = "diverged"
    """The loss was no longer a number; the figures are those from before."""


@dataclass(frozen=True)
class Point:
    """A moment of a fit.

    Attributes:
        step: updates done.
        train_loss: the mean since the point before; NaN at the beginning.
        held_out_loss: of the weights at that moment.
        gradient_norm: the largest since the point before, before clipping; NaN at the beginning.
    """

    step: int
    train_loss: float
    held_out_loss: float
    gradient_norm: float


GradientNorms = dict[str, tuple[float, ...]]
"""For each kind of carry (`h`, `c`), the norm of the loss's gradient at lags 1, 2, 3, ..."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """What came of a fit.

    Attributes:
        parameters: of the whole model.
        steps_done: updates done.
        seconds: of the processor, for updates alone: the time on a quiet core.
        inputs_per_s: time indices learnt a second, on one core.
        loss: on what is held out, in the task's unit (MSE or nats), at the end.
        baseline: the loss of the best answer that ignores the input.
        solved_below: as the task has it; 0.0 where it has no such line.
        success: the share of right answers; NaN where the task has no such thing.
        gradients: by "before" and "after" training; empty where nobody asked.
    """

    fit: Fit
    parameters: int
    steps_done: int
    seconds: float
    inputs_per_s: float
    ended: Ended
    loss: float
    baseline: float
    solved_below: float
    success: float
    curve: tuple[Point, ...]
    gradients: dict[str, GradientNorms]

    @property
    def is_solved(self) -> bool:
        """Whether the loss is below the task's line."""
        return self.loss < self.solved_below

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> Result:
        """The inverse of `as_dict`."""
        gradients = {
            when: {kind: tuple(norms) for kind, norms in kinds.items()}
            for when, kinds in plain["gradients"].items()
        }
        rebuilt = {
            "fit": Fit(**plain["fit"]),
            "ended": Ended(plain["ended"]),
            "curve": tuple(Point(**point) for point in plain["curve"]),
            "gradients": gradients,
        }
        return cls(**{**plain, **rebuilt})
