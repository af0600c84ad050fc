"""Families of series that are ours because prometheus_client's would cost too much a step, or
because what they show is not counted but found."""

from collections.abc import Callable, Iterator, Mapping

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.registry import Collector

from rnnserve.ops.metrics.tally import Tally


class Histograms(Collector):
    """A tally for each model, under one name."""

    def __init__(self, name: str, help_text: str, buckets: tuple[float, ...]) -> None:
        self._name = name
        self._help = help_text
        self._buckets = buckets
        self.of: dict[str, Tally] = {}
        """By model; of those alone that are expected."""

    def expect(self, model: str) -> None:
        """Show this model from now on, as zeros at first."""
        self.of.setdefault(model, Tally(self._buckets))

    def forget(self, model: str) -> None:
        """Show this model no more."""
        self.of.pop(model, None)

    def collect(self) -> Iterator[HistogramMetricFamily]:
        family = HistogramMetricFamily(self._name, self._help, labels=["model"])
        for model, tally in tuple(self.of.items()):
            buckets, total = tally.cumulative()
            family.add_metric([model], buckets, total)
        yield family


Labels = tuple[str, ...]


class Counts(Collector):
    """Numbers under one name, by the values of their labels. The event loop's thread counts, any
    other may read."""

    def __init__(
        self,
        name: str,
        help_text: str,
        labels: Labels = ("model",),
        family: type[CounterMetricFamily] | type[GaugeMetricFamily] = CounterMetricFamily,
    ) -> None:
        """`family`: a gauge, where the numbers may fall too."""
        self._name = name
        self._help = help_text
        self._labels = labels
        self._family = family
        self._counts: dict[Labels, int] = {}

    def expect(self, *values: str) -> None:
        """Show this one from now on, as zero at first."""
        self._counts.setdefault(values, 0)

    def forget(self, *values: str) -> None:
        """Show this one no more."""
        self._counts.pop(values, None)

    def add(self, count: int, *values: str) -> None:
        """So many more."""
        self._counts[values] = self._counts.get(values, 0) + count

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        family = self._family(self._name, self._help, labels=self._labels)
        for values, count in tuple(self._counts.items()):
            family.add_metric(values, count)
        yield family


class Found(Collector):
    """A gauge whose series and values are those of the latest look; before the first, none."""

    def __init__(self, name: str, help_text: str, labels: Labels = ()) -> None:
        self._name = name
        self._help = help_text
        self._labels = labels
        self._values: Mapping[Labels, float] = {}

    def look(self, values: Mapping[Labels, float]) -> None:
        """From now on these, by the values of the labels. The mapping must not change."""
        self._values = values

    def collect(self) -> Iterator[GaugeMetricFamily]:
        family = GaugeMetricFamily(self._name, self._help, labels=self._labels)
        for labels, value in self._values.items():
            family.add_metric(labels, value)
        yield family


Register = Callable[[Collector], None]
