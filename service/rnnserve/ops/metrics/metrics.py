"""Counts what the engine and the wire tell of themselves."""

import platform
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import version

from prometheus_client import (
    CollectorRegistry,
    Gauge,
    Histogram,
    Info,
    disable_created_metrics,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

import rnnserve
from rnnserve.engine.meter import Cause, SessionEnd
from rnnserve.engine.occupancy import Occupancy
from rnnserve.errors import Fault, Reason
from rnnserve.ops.metrics.families import Counts, Histograms
from rnnserve.ops.metrics.house import House
from rnnserve.ops.metrics.port import MetricsPort
from rnnserve.wire.inference.repository import Indexed

LATENCY_BUCKETS_S = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025),
    *(0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0),
)
TOKEN_BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)
"""Fewer, so that three models that generate, and every reason there is, are 500 series."""
ERROR_LABELS = {reason: (reason, reason.fault.value) for reason in Reason}
ROWS_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """What the engine tells (its `Meter`), counted in a registry of its own."""

    def __init__(self, session_ended: Callable[[SessionEnd], None] = lambda end: None) -> None:
        """`session_ended` is told of every session that has ended."""
        # A series beside each counter that says since when there is one: as many again, for nobody.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self._session_ended = session_ended
        self._house = House(self.registry.register)
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
        self._reply = histogram(
            "rnnserve_reply_seconds",
            "From a chunk's answer until gRPC has taken the message with it; of a call with one "
            "reply, until that is handed over.",
            LATENCY_BUCKETS_S,
        )
        self._first_token = histogram(
            "rnnserve_first_token_seconds",
            "From the arrival of a call that generates until gRPC has taken its first token.",
            TOKEN_BUCKETS_S,
        )
        self._interval = histogram(
            "rnnserve_token_interval_seconds",
            "Between two tokens of a generation, as gRPC takes them; those of one message share "
            "the time since the one before.",
            TOKEN_BUCKETS_S,
        )
        self._rows = histogram("rnnserve_batch_rows", "Rows that ran together.", ROWS_BUCKETS)
        self._block = histogram(
            "rnnserve_block_steps", "Steps that a batch ran of each row.", ROWS_BUCKETS
        )
        step = (self._queue, self._run, self._reply, self._step, self._rows, self._block)
        self._histograms = (*step, self._first_token, self._interval)
        """The last two of models that generate alone."""

    def _counts(self) -> None:
        def counts(name: str, help_text: str, *labels: str, gauge: bool = False) -> Counts:
            family = GaugeMetricFamily if gauge else CounterMetricFamily
            ours = Counts(name, help_text, labels, family)
            self.registry.register(ours)
            return ours

        self._sessions = counts("rnnserve_sessions", "Sessions that are open.", "model", gauge=True)
        self._opened = counts("rnnserve_sessions_opened_total", "Sessions opened.", "model")
        self._ended = counts(
            "rnnserve_sessions_ended_total", "Sessions ended, by cause.", "model", "cause"
        )
        self._steps = counts("rnnserve_steps_total", "Steps committed.", "model")
        self._resent = counts(
            "rnnserve_resends_total", "Chunks that came again and were answered again.", "model"
        )
        self._tokens = counts("rnnserve_tokens_total", "Tokens generated.", "model")
        self._errors = counts(
            "rnnserve_errors_total",
            "Operations answered with an error, by reason and by whose fault it is.",
            "reason",
            "fault",
        )
        for reason in Reason:
            # What a caller does wrong shows when somebody does it.
            if reason.fault is not Fault.CALLER:
                self._errors.expect(*ERROR_LABELS[reason])

    def serve(self, host: str, port: int) -> "MetricsPort":
        """Answer /metrics from now on. Raises OSError when the port is taken."""
        return MetricsPort(self.registry, host, port)

    def expect(self, model: str, *, generates: bool) -> None:
        """Show this model's series from the beginning, as zeros: a rate has to have a start."""
        for histograms in self._histograms[: None if generates else -2]:
            histograms.expect(model)
        for counts in (self._sessions, self._opened, self._steps, self._resent):
            counts.expect(model)
        if generates:
            self._tokens.expect(model)
        for cause in Cause:
            self._ended.expect(model, cause)

    def forget(self, model: str) -> None:
        """The model is gone, and so are its series: there would be more and more of them."""
        for histograms in self._histograms:
            histograms.forget(model)
        for counts in (self._sessions, self._opened, self._steps, self._resent, self._tokens):
            counts.forget(model)
        for cause in Cause:
            self._ended.forget(model, cause)

    def look(self, now: Occupancy, streams: int, versions: Iterable[Indexed]) -> None:
        """How full the server is, and what became of the models that were found."""
        self._house.look(now, streams, versions)

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
        self._opened.add(1, model)
        self._sessions.add(1, model)

    def ended(self, end: SessionEnd) -> None:
        self._ended.add(1, end.model, end.cause)
        self._sessions.add(-1, end.model)
        self._session_ended(end)

    def ran(self, model: str, rows: int, steps: int, run_s: float) -> None:
        self._run.of[model].observe(run_s)
        self._rows.of[model].observe(rows)
        self._block.of[model].observe(steps)

    def answered(
        self, model: str, steps: int, queue_s: Sequence[float], whole_s: Sequence[float]
    ) -> None:
        self._steps.add(steps, model)
        self._queue.of[model].observe_all(queue_s)
        self._step.of[model].observe_all(whole_s)

    def replied(self, model: str, answers: int, reply_s: float) -> None:
        # What is sent last may be sent when its model is gone already.
        if (tally := self._reply.of.get(model)) is not None:
            tally.observe_many(reply_s, answers)

    def first_token(self, model: str, after_s: float) -> None:
        if (tally := self._first_token.of.get(model)) is not None:
            tally.observe(after_s)

    def more_tokens(self, model: str, tokens: int, interval_s: float) -> None:
        if (tally := self._interval.of.get(model)) is not None:
            tally.observe_many(interval_s, tokens)

    def resent(self, model: str) -> None:
        self._resent.add(1, model)

    def generated(self, model: str, tokens: int) -> None:
        self._tokens.add(tokens, model)

    def refused(self, reason: Reason) -> None:
        labels = ERROR_LABELS[reason]
        self._errors.expect(*labels)
        self._errors.add(1, *labels)
