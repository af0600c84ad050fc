"""What Prometheus sees. prometheus_client is imported here only.

Never a label for a session: the number of series depends on the models and the reasons alone.
"""

import platform
from collections.abc import Iterator, Sequence
from importlib.metadata import version

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import start_http_server
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

import rnnserve
from rnnserve.engine.meter import Cause
from rnnserve.errors import Reason
from rnnserve.ops.tally import Tally

LATENCY_BUCKETS_S = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025),
    *(0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0),
)
ROWS_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Histograms(Collector):
    """A tally for each model, under one name."""

    def __init__(self, name: str, help_text: str, buckets: tuple[float, ...]) -> None:
        self._name = name
        self._help = help_text
        self._buckets = buckets
        self._tallies: dict[str, Tally] = {}

    def expect(self, model: str) -> None:
        """Show this model from now on, as zeros at first."""
        self._tallies.setdefault(model, Tally(self._buckets))

    def __getitem__(self, model: str) -> Tally:
        return self._tallies[model]

    def collect(self) -> Iterator[HistogramMetricFamily]:
        family = HistogramMetricFamily(self._name, self._help, labels=["model"])
        for model, tally in tuple(self._tallies.items()):
            buckets, total = tally.cumulative()
            family.add_metric([model], buckets, total)
        yield family


class Counts(Collector):
    """A number for each model, under one name."""

    def __init__(self, name: str, help_text: str) -> None:
        self._name = name
        self._help = help_text
        self._counts: dict[str, int] = {}

    def expect(self, model: str) -> None:
        """Show this model from now on, as zero at first."""
        self._counts.setdefault(model, 0)

    def add(self, model: str, count: int) -> None:
        """So many more."""
        self._counts[model] += count

    def collect(self) -> Iterator[CounterMetricFamily]:
        family = CounterMetricFamily(self._name, self._help, labels=["model"])
        for model, count in tuple(self._counts.items()):
            family.add_metric([model], count)
        yield family


class Metrics:
    """Counts what the engine tells (its `Meter`) in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._latencies()
        self._counts()
        self._loop_lag = Histogram(
            "rnnserve_loop_lag_seconds",
            "How much later than asked the event loop woke up.",
            buckets=LATENCY_BUCKETS_S,
            registry=self.registry,
        )
        self._expiry: Gauge | None = None
        build = Info("rnnserve_build", "What is running.", registry=self.registry)
        build.info(
            {
                "version": rnnserve.__version__,
                "onnxruntime": version("onnxruntime"),
                "grpc": version("grpcio"),
                "python": platform.python_version(),
            }
        )
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)

    def _latencies(self) -> None:
        def histogram(name: str, help_text: str, buckets: tuple[float, ...]) -> Histograms:
            histograms = Histograms(name, help_text, buckets)
            self.registry.register(histograms)
            return histograms

        self._queue = histogram(
            "rnnserve_queue_seconds",
            "From a chunk's arrival to the start of its first block.",
            LATENCY_BUCKETS_S,
        )
        self._run = histogram(
            "rnnserve_run_seconds", "One run of a batch in the runner.", LATENCY_BUCKETS_S
        )
        self._step = histogram(
            "rnnserve_step_seconds",
            "From a chunk's arrival to its answer, queue and every run included.",
            LATENCY_BUCKETS_S,
        )
        self._rows = histogram("rnnserve_batch_rows", "Rows that ran together.", ROWS_BUCKETS)
        self._block = histogram(
            "rnnserve_block_steps", "Steps that a batch ran of each row.", ROWS_BUCKETS
        )

    def _counts(self) -> None:
        def counter(name: str, help_text: str, *labels: str) -> Counter:
            return Counter(name, help_text, labels, registry=self.registry)

        self._sessions = Gauge(
            "rnnserve_sessions", "Sessions that are open.", ["model"], registry=self.registry
        )
        self._opened = counter("rnnserve_sessions_opened_total", "Sessions opened.", "model")
        self._ended = counter(
            "rnnserve_sessions_ended_total", "Sessions ended, by cause.", "model", "cause"
        )
        self._steps = Counts("rnnserve_steps_total", "Steps committed.")
        self.registry.register(self._steps)
        self._resent = counter(
            "rnnserve_resends_total", "Chunks that came again and were answered again.", "model"
        )
        self._tokens = Counts("rnnserve_tokens_total", "Tokens generated.")
        self.registry.register(self._tokens)
        self._errors = counter(
            "rnnserve_errors_total",
            "Operations answered with an error, by reason and by whose fault it is.",
            "reason",
            "fault",
        )

    def serve(self, host: str, port: int) -> "MetricsPort":
        """Answer /metrics from now on. Raises OSError when the port is taken."""
        return MetricsPort(self.registry, host, port)

    def expect(self, model: str) -> None:
        """Show this model's series from the beginning, as zeros."""
        for metric in (self._queue, self._run, self._step, self._rows, self._block):
            metric.expect(model)
        for counts in (self._steps, self._tokens):
            counts.expect(model)
        for count in (self._opened, self._resent):
            count.labels(model)
        self._sessions.labels(model)

    def lagged(self, lag_s: float) -> None:
        """The event loop woke up this much late."""
        self._loop_lag.observe(lag_s)

    def certificate_expires(self, at_s: float) -> None:
        """When the gRPC port's certificate does, as seconds since 1970; there is no such series
        without TLS."""
        if self._expiry is None:
            self._expiry = Gauge(
                "rnnserve_certificate_expiry_timestamp_seconds",
                "When the gRPC port's certificate expires.",
                registry=self.registry,
            )
        self._expiry.set(at_s)

    def opened(self, model: str) -> None:
        self._opened.labels(model).inc()
        self._sessions.labels(model).inc()

    def ended(self, model: str, cause: Cause) -> None:
        self._ended.labels(model, cause).inc()
        self._sessions.labels(model).dec()

    def ran(self, model: str, rows: int, steps: int, run_s: float) -> None:
        self._run[model].observe(run_s)
        self._rows[model].observe(rows)
        self._block[model].observe(steps)

    def answered(
        self, model: str, steps: int, queue_s: Sequence[float], whole_s: Sequence[float]
    ) -> None:
        self._steps.add(model, steps)
        self._queue[model].observe_all(queue_s)
        self._step[model].observe_all(whole_s)

    def resent(self, model: str) -> None:
        self._resent.labels(model).inc()

    def generated(self, model: str, tokens: int) -> None:
        self._tokens.add(model, tokens)

    def refused(self, reason: Reason) -> None:
        self._errors.labels(reason, reason.fault.value).inc()


class MetricsPort:
    """The HTTP port of /metrics, in a thread of its own."""

    def __init__(self, registry: CollectorRegistry, host: str, port: int) -> None:
        self._server, self._thread = start_http_server(port, host, registry)
        self.port = self._server.server_port

    def close(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
