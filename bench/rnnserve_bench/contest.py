"""Contestants side by side: one window each in every round, so that noise hits them alike."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from rnnserve_bench.errors import BenchProblem
from rnnserve_bench.sample import Sample

Run = Callable[[], Sample]
"""Measures one window of one contestant."""


@dataclass(frozen=True)
class Outcome:
    """A scenario's samples: for every contestant, one for each round, in the rounds' order."""

    name: str
    title: str
    samples: dict[str, list[Sample]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    """Contestants that could not run, or not to the end, and why."""

    def rounds(self, *contestants: str) -> list[tuple[Sample, ...]]:
        """For every round the samples of these, side by side; empty where one is missing."""
        if any(name not in self.samples for name in contestants):
            return []
        return list(zip(*(self.samples[name] for name in contestants), strict=True))


class Contest:
    """Rounds over contestants that are dropped when they fail."""

    def __init__(self, entrants: Mapping[str, Callable[[], Run]]) -> None:
        """Make every contestant ready; one that raises BenchProblem is missing."""
        self.missing: dict[str, BenchProblem] = {}
        self._runs: dict[str, Run] = {}
        for name, enter in entrants.items():
            try:
                self._runs[name] = enter()
            except BenchProblem as problem:
                self.missing[name] = problem

    def compete(
        self,
        rounds: int,
        finished: Callable[[str], None],
        failed: Callable[[], None],
    ) -> dict[str, list[Sample]]:
        """Run `rounds` rounds; `finished` is told whose window is over.

        `failed` is called after a failure, to clear what it left behind. Every other round goes
        backwards: what runs after a contestant that heats the core isn't always the same one.
        """
        samples: dict[str, list[Sample]] = {name: [] for name in self._runs}
        for number in range(rounds):
            order = list(self._runs) if number % 2 == 0 else list(reversed(self._runs))
            for name in order:
                if name in self.missing:
                    finished(name)
                    continue
                try:
                    sample = self._runs[name]()
                except BenchProblem as problem:
                    self.missing[name] = problem
                    failed()
                    finished(name)
                else:
                    samples[name].append(sample)
                    finished(name)
        return {name: found for name, found in samples.items() if name not in self.missing}
