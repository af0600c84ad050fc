"""What a study is going to do, and how long that will take: decided once, then only followed.

Every architecture gets the same number of updates on the same task.  How long an update takes is
measured first; where all of it would not fit into the time, all numbers of updates shrink by one
factor, so that the comparison stays fair and the plan says so.  Times are the processor's, those of
quiet cores: a busy machine makes a study longer, not its budgets smaller.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from rnnserve_models.study.fit import Fit, Recipe

LEAST_STEPS = 4


@dataclass(frozen=True)
class Speed:
    """Seconds of the processor for one update, and for the rest of a fit (loading, scoring)."""

    step_s: float
    rest_s: float

    def fit_s(self, steps: int) -> float:
        """Seconds of a whole fit."""
        return self.rest_s + steps * self.step_s


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is to be done; plain data.

    Attributes:
        fits: in the order in which they are begun.
        expected_s: by the fit's name; the most, since many end before their budget is spent.
        scale: what the size's own numbers of updates were multiplied with.
        recipe: how all of them are trained.
        quick: whether the sizes are the tiny ones.
        gradient_length: the T at which gradients are looked at.
        corpus: the file of the text that was given, and its SHA-256; None without one.
        workers: processes at the time of planning.
        command, machine, versions: what it was planned by, on and with.
    """

    fits: tuple[Fit, ...]
    expected_s: dict[str, float]
    scale: float
    recipe: Recipe
    quick: bool
    seeds: int
    gradient_length: int
    corpus: tuple[str, str] | None
    workers: int
    command: str
    machine: dict[str, str]
    versions: dict[str, str]

    def expected_wall_s(self, fits: Iterable[Fit]) -> float:
        """Seconds until these are done, with all workers busy on quiet cores."""
        return sum(self.expected_s[fit.name] for fit in fits) / self.workers

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> Plan:
        """The inverse of `as_dict`."""
        rebuilt = {
            "fits": tuple(Fit(**fit) for fit in plain["fits"]),
            "recipe": Recipe(**plain["recipe"]),
            "corpus": tuple(plain["corpus"]) if plain["corpus"] else None,
        }
        return cls(**{**plain, **rebuilt})


def budgeted(
    fits: Sequence[Fit], speeds: Mapping[str, Speed], at_most_s: float
) -> tuple[tuple[Fit, ...], dict[str, float], float]:
    """Fits that take at most so many seconds one after the other, as far as that is possible.

    `speeds` are by the names of the fits.  Returns the fits, the most demanding of each seed first,
    seconds by name, and the factor by which all budgets were multiplied.
    """
    fixed_s = sum(speeds[fit.name].rest_s for fit in fits)
    steps_s = sum(speeds[fit.name].step_s * fit.steps for fit in fits)
    scale = min(1.0, max(0.0, at_most_s - fixed_s) / max(steps_s, 1e-9))
    scaled = [replace(fit, steps=max(LEAST_STEPS, int(fit.steps * scale))) for fit in fits]
    expected_s = {fit.name: speeds[fit.name].fit_s(fit.steps) for fit in scaled}
    # One seed of everything before the next: a study that is stopped has something to show. Long
    # fits first, so that the workers end at about the same moment.
    ordered = sorted(scaled, key=lambda fit: (fit.seed, -expected_s[fit.name]))
    return tuple(ordered), expected_s, scale
