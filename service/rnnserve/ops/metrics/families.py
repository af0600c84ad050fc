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

    def describe(self) -> Iterator[HistogramMetricFamily]:
        """For /metrics?name[]=..., which asks for single families."""
        yield HistogramMetricFamily(self._name, self._help, labels=["model"])

    def collect(self) -> Iterator[HistogramMetricFamily]:
        (family,) = self.describe()
        for model, tally in self.of.copy().items():
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
        """So many more; of those alone that are expected: a model may be gone already."""
        if values in self._counts:
            self._counts[values] += count

    def describe(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        """For /metrics?name[]=..., which asks for single families."""
        yield self._family(self._name, self._help, labels=self._labels)

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        (family,) = self.describe()
        for values, count in self._counts.copy().items():
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

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """For /metrics?name[]=..., which asks for single families."""
        yield GaugeMetricFamily(self._name, self._help, labels=self._labels)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        (family,) = self.describe()
        for labels, value in self._values.items():
            family.add_metric(labels, value)
        yield family


Register = Callable[[Collector], None]
