"""Whether a series of samples drifts: pure, so that it can be tried on made-up leaks.

The first part of a run is left out: caches fill, pools grow. Of the rest the slope is that of Theil
and Sen, the median of the slopes between all pairs: a third of the samples may be anything before
it notices. What it would add up to from the beginning of that rest to its end is the growth.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

WARM_SHARE = 0.25
LEAST_SAMPLES = 6
MOST_POINTS = 600
"""Pairs grow with the square; longer series are thinned by medians of neighbours."""


@dataclass(frozen=True)
class Allowance:
    """How much growth is none yet: the larger of both."""

    absolute: float
    share: float = 0.0
    """Of the series' median."""


@dataclass(frozen=True)
class Drift:
    """What a series did after its warm-up."""

    name: str
    unit: str
    begin: float
    """Where the fitted line begins."""
    growth: float
    """How much higher it ends."""
    an_hour: float
    allowed: float

    @property
    def is_drifting(self) -> bool:
        return self.growth > self.allowed

    def __str__(self) -> str:
        return (
            f"{self.name} grew by {self.growth:.3g} {self.unit} "
            f"({self.an_hour:.3g} {self.unit} an hour); {self.allowed:.3g} are allowed"
        )


def judge(
    name: str, unit: str, times_s: Sequence[float], values: Sequence[float], allowance: Allowance
) -> Drift:
    """The drift of one series; NaN values are left out, and so is the warm-up.

    Raises ValueError for fewer than LEAST_SAMPLES samples behind it.
    """
    times, found = np.asarray(times_s, float), np.asarray(values, float)
    first = times[0] + WARM_SHARE * (times[-1] - times[0]) if len(times) else 0.0
    there = (times >= first) & np.isfinite(found)
    times, found = _thinned(times[there]), _thinned(found[there])
    if len(times) < LEAST_SAMPLES:
        raise ValueError(f"{len(times)} samples of {name} are too few to judge")
    i, j = np.triu_indices(len(times), 1)
    slope = float(np.median((found[j] - found[i]) / (times[j] - times[i])))
    span_s = float(times[-1] - times[0])
    middle = float(np.median(found))
    begin = middle - slope * (float(np.median(times)) - float(times[0]))
    allowed = max(allowance.absolute, allowance.share * abs(middle))
    return Drift(name, unit, begin, slope * span_s, slope * 3600, allowed)


def _thinned(values: np.ndarray) -> np.ndarray:
    """At most MOST_POINTS, each the median of as many neighbours."""
    size = -(-len(values) // MOST_POINTS)
    if size <= 1:
        return values
    whole = len(values) // size * size
    return np.asarray(np.median(values[:whole].reshape(-1, size), axis=1))
