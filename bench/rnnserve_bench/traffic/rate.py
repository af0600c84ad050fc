"""How often something is sent: a rate that may change with time, and the moments that follow from
it.

All pure: the moments are known before the first of them has come, so that a slow answer can't move
them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from rnnserve_bench.errors import BenchProblem

BLOCK = 1024
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Stretch:
    """A part of the time in which the rate goes evenly from one value to another."""

    length_s: float
    begin: float
    """A second."""
    end: float

    @property
    def count(self) -> float:
        return self.length_s * (self.begin + self.end) / 2


@dataclass(frozen=True)
class Rate:
    """Stretches, one after the other."""

    stretches: tuple[Stretch, ...]

    @classmethod
    def parse(cls, text: str, duration_s: float, ramp_s: float) -> "Rate":
        """`500`; `100..900`, which gets there in `ramp_s` and stays; `100,200,400`: equal parts.

        Raises BenchProblem for any other text.
        """
        try:
            if ".." in text:
                begin, end = map(float, text.split(".."))
                ramp_s = min(ramp_s or duration_s, duration_s)
                found = [Stretch(ramp_s, begin, end), Stretch(duration_s - ramp_s, end, end)]
            else:
                steps = [float(part) for part in text.split(",")]
                found = [Stretch(duration_s / len(steps), step, step) for step in steps]
        except ValueError:
            found = []
        values = [value for part in found for value in (part.begin, part.end)]
        if not values or not all(0 <= value < np.inf for value in values) or not any(values):
            raise BenchProblem(
                f"--rate {text}: say 500, or 100..900, or 100,200,400; each a second"
            )
        return cls(tuple(part for part in found if part.length_s > 0))

    @classmethod
    def steady(cls, value: float, duration_s: float) -> "Rate":
        """The same all the time."""
        return cls((Stretch(duration_s, value, value),))

    def scaled(self, factor: float) -> "Rate":
        """At every moment that many times as much."""
        parts = self.stretches
        return Rate(tuple(Stretch(p.length_s, p.begin * factor, p.end * factor) for p in parts))

    @property
    def duration_s(self) -> float:
        return sum(part.length_s for part in self.stretches)

    @property
    def count(self) -> float:
        """How much is sent in all, on average."""
        return sum(part.count for part in self.stretches)

    def moments(self, counts: Floats) -> Floats:
        """When the rate's sum reaches each of `counts`, in seconds  # (N,); inf where never."""
        moments = np.full(len(counts), np.inf)
        edges = np.cumsum([0.0, *(part.count for part in self.stretches)])
        begin_s = 0.0
        for part, (low, high) in zip(self.stretches, pairwise(edges), strict=True):
            inside = (counts > low) & (counts <= high)
            left = counts[inside] - low
            slope = (part.end - part.begin) / part.length_s
            # The root of begin t + slope t^2 / 2 = left, in the form that stands a slope of 0.
            root = np.sqrt(np.maximum(part.begin**2 + 2 * slope * left, 0.0))
            moments[inside] = begin_s + 2 * left / (part.begin + root)
            begin_s += part.length_s
        return moments


def arrivals(rate: Rate, rng: np.random.Generator | None, phase: float = 0.5) -> Iterator[float]:
    """The moments at which to send, in seconds from the start, in their order.

    With `rng` they are a Poisson process, as many independent users make one. Without, they are
    even; `phase` says which of several generators this one is, 0 <= phase < 1.
    """
    so_far = 0.0
    while True:
        gaps = np.ones(BLOCK) if rng is None else rng.exponential(size=BLOCK)
        counts = so_far + np.cumsum(gaps)
        so_far = float(counts[-1])
        moments = rate.moments(counts if rng is not None else counts - 1 + phase)
        known = moments[np.isfinite(moments)]
        yield from known.tolist()
        if len(known) < BLOCK:
            return
