"""What a study found: results by task, length and variant, and what follows from their numbers.

Figures are medians over the seeds.  A variant has solved a task at a length when more than half of
its seeds have.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import median

from rnnserve_models.study.fit import Ended, Result
from rnnserve_models.study.plan import Plan
from rnnserve_models.study.serving import ServingCost
from rnnserve_models.study.variants import ARCHITECTURES, VARIANTS

Key = tuple[str, int, str]


@dataclass(frozen=True)
class Spread:
    """A median with the least and the most."""

    middle: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of at least one value."""
        return cls(median(values), min(values), max(values))


@dataclass(frozen=True)
class Findings:
    """Everything that a report is written from.

    Attributes:
        results: in any order; those of fits that are not done are missing.
        serving: one for each model that was measured.
    """

    plan: Plan
    results: Sequence[Result]
    serving: Sequence[ServingCost]

    @cached_property
    def by_key(self) -> Mapping[Key, tuple[Result, ...]]:
        """The seeds of each task, length and variant."""
        found: dict[Key, list[Result]] = {}
        for result in sorted(self.results, key=lambda result: result.fit.seed):
            fit = result.fit
            found.setdefault((fit.task, fit.length, fit.variant), []).append(result)
        return {key: tuple(seeds) for key, seeds in found.items()}

    def seeds(self, task: str, length: int, variant: str) -> tuple[Result, ...]:
        """What came of a kind of fit, seed by seed; empty where nothing did."""
        return self.by_key.get((task, length, variant), ())

    def lengths(self, task: str) -> list[int]:
        """Every T of a task, ascending."""
        return sorted({length for name, length, _ in self.by_key if name == task})

    def variants(self, task: str) -> list[str]:
        """Who did the task at each of its lengths, in the order of `VARIANTS`."""
        return [
            name
            for name in VARIANTS
            if (lengths := self.lengths(task))
            and all(self.seeds(task, length, name) for length in lengths)
        ]

    def loss(self, task: str, length: int, variant: str) -> Spread | None:
        """The held-out loss at the end."""
        seeds = self.seeds(task, length, variant)
        return Spread.of([result.loss for result in seeds]) if seeds else None

    def success(self, task: str, length: int, variant: str) -> Spread | None:
        """The share of right answers."""
        seeds = self.seeds(task, length, variant)
        return Spread.of([result.success for result in seeds]) if seeds else None

    def bits(self, task: str, variant: str) -> Spread | None:
        """Bits per character; those that diverged have none."""
        seeds = [r for r in self.results if (r.fit.task, r.fit.variant) == (task, variant)]
        found = [r.loss / math.log(2) for r in seeds if r.ended is not Ended.DIVERGED]
        return Spread.of(found) if found else None

    def solved_below(self, task: str, length: int) -> float:
        """The loss from which on the task counts as solved; 0.0 where there is no such line."""
        return self._any(task, length).solved_below

    def baseline(self, task: str, length: int) -> float:
        """The loss of the best answer that ignores the input."""
        return self._any(task, length).baseline

    def _any(self, task: str, length: int) -> Result:
        return next(seeds[0] for key, seeds in self.by_key.items() if key[:2] == (task, length))

    def solved(self, task: str, length: int, variant: str) -> bool:
        """Whether more than half of the seeds did."""
        seeds = self.seeds(task, length, variant)
        return 2 * sum(result.is_solved for result in seeds) > len(seeds)

    def reach(self, task: str, variant: str) -> int:
        """The longest T up to which every length was solved; 0: not even the shortest."""
        reached = 0
        for length in self.lengths(task):
            if not self.solved(task, length, variant):
                break
            reached = length
        return reached

    def updates_to_solve(self, task: str, length: int, variant: str) -> float | None:
        """Median updates until the loss was first below the line; None where not solved."""
        if not self.solved(task, length, variant):
            return None
        return median(
            next((p.step for p in r.curve if p.held_out_loss < r.solved_below), math.inf)
            for r in self.seeds(task, length, variant)
        )

    def diverged(self) -> list[Result]:
        """Those whose loss was no longer a number."""
        return [result for result in self.results if result.ended is Ended.DIVERGED]

    def cost(self, name: str) -> ServingCost | None:
        """What serving a model costs."""
        return next((cost for cost in self.serving if cost.name == name), None)

    @property
    def architecture_costs(self) -> list[ServingCost]:
        """Of the architectures as they were trained, in their order."""
        found = (self.cost(variant.name) for variant in ARCHITECTURES)
        return [cost for cost in found if cost is not None]


def title(name: str) -> str:
    """A variant's, for people."""
    return VARIANTS[name].title
