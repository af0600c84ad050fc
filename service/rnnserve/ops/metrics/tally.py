"""A histogram for values that are told a batch at a time.

prometheus_client's own metrics take a lock and look at every bucket for each value: 2.4 us a step
for the two latencies of one, where this takes 0.3.
"""

from bisect import bisect_left
from collections.abc import Sequence


class Tally:
    """A histogram, owned by the event loop's thread; any other may read it."""

    def __init__(self, buckets: tuple[float, ...]) -> None:
        self._buckets = buckets
        self._counts = [0] * (len(buckets) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self._counts[bisect_left(self._buckets, value)] += 1
        self._sum += value

    def observe_many(self, value: float, count: int) -> None:
        """Count one value so many times."""
        self._counts[bisect_left(self._buckets, value)] += count
        self._sum += value * count

    def observe_all(self, values: Sequence[float]) -> None:
        """Count several."""
        counts, buckets = self._counts, self._buckets
        last, place = -1.0, 0
        for value in values:
            # Steps of one frame arrived together and are answered together.
            if value != last:
                last, place = value, bisect_left(buckets, value)
            counts[place] += 1
        self._sum += sum(values)

    def cumulative(self) -> tuple[list[tuple[str, float]], float]:
        """How many values are at most each bound, and the sum of all."""
        below = 0
        found: list[tuple[str, float]] = []
        for bound, count in zip((*self._buckets, "+Inf"), tuple(self._counts), strict=True):
            below += count
            found.append((str(bound), below))
        return found, self._sum
