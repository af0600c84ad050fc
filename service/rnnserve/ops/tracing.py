"""Spans by OpenTelemetry, on their way to a collector. The one file that knows OpenTelemetry.

A call has a span where its caller's trace is sampled. Where no trace comes with it, a long call
begins one, and of the short ones a share does. Below a call, the first chunk and a share of the
others have a span `step`, with `queue` and `run` in it: made when the chunk is answered, from the
times that it carries anyway. No payload, and of a session's id only what tells it from its
neighbours: the id entitles whoever holds it.

The SDK reads the standard variables OTEL_* itself, as everywhere (headers, certificates, limits of
its queue, resource attributes, a sampler of its own); what rnnserve has options for goes by them.

Sources: W3C Trace Context; OpenTelemetry's semantic conventions for RPC.
"""

import math
import os
import random
import socket
import threading
import time
from collections.abc import Callable
from functools import partial

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

from rnnserve import __version__
from rnnserve.engine.chunk import Chunk, Listener
from rnnserve.engine.model import Model
from rnnserve.errors import Fault, OperatorError, Refusal
from rnnserve.wire.tracing import Metadata, Method

PROPAGATOR = TraceContextTextMapPropagator()
HEADERS = PROPAGATOR.fields
SHOWN_OF_ID = 6
"""Characters of a session's id."""
NEVER = 1 << 62
"""So many chunks no call has."""
MAX_EVENTS = 32
"""Of one call: the errors behind them are only counted."""
FLUSH_S = 1.0
"""At the end, spans that wait have so long to get to the collector."""
FAILURES = frozenset(
    ("UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS")
)
"""Status codes with which a server has failed; the others are the caller's."""

Attributes = dict[str, AttributeValue]


class Tracing:
    """Spans that go to a collector, from a queue with a bound and a thread of its own. A collector
    that is away costs what doesn't fit, and nothing else."""

    def __init__(self, endpoint: str, share: float) -> None:
        """Raises OperatorError for an endpoint that is none, and for variables that don't do."""
        if not endpoint.startswith(("http://", "https://")):
            raise OperatorError(
                f"--trace-endpoint {endpoint}: must begin with http:// or, for TLS, https://"
            )
        try:
            self._exporter = OTLPSpanExporter(endpoint)
            # Not at exit: that could take half a minute.
            self._provider = TracerProvider(resource=_resource(), shutdown_on_exit=False)
            self._provider.add_span_processor(BatchSpanProcessor(self._exporter))
        except Exception as error:
            raise OperatorError(f"tracing, by a variable OTEL_...: {error}") from None
        self.spans = Spans(self._provider.get_tracer("rnnserve", __version__), share)

    def close(self) -> None:
        """Send what waits, for a moment, and give up what the collector hasn't taken by then."""
        giving_up = threading.Timer(FLUSH_S, self._exporter.shutdown)
        giving_up.daemon = True
        giving_up.start()
        self._provider.shutdown()
        giving_up.cancel()


class Spans:
    """Decides which calls are traced, and begins their spans."""

    def __init__(
        self,
        tracer: trace.Tracer,
        share: float,
        clock: Callable[[], float] = time.monotonic,
        wall_clock_ns: Callable[[], int] = time.time_ns,
        draw: Callable[[], float] = random.random,
    ) -> None:
        """`share` of the chunks, and of short calls without a trace, have spans. `clock`, in
        seconds, is the engine's; `draw` gives numbers from [0, 1)."""
        self._tracer = tracer
        self._share = share
        self._gap = partial(gap, share, draw)
        self._now_s = clock
        self._wall_clock_ns = wall_clock_ns
        self._draw = draw

    def call(self, method: Method, metadata: Metadata) -> "Call | None":
        context = _context(metadata)
        has_parent = trace.get_current_span(context).get_span_context().is_valid
        if not has_parent and not method.is_long and self._draw() >= self._share:
            return None
        began_ns = self._wall_clock_ns()
        # One difference for the whole call: within it, times are as true as the engine's clock.
        epoch_ns = began_ns - round(self._now_s() * 1e9)
        attributes: Attributes = {"rpc.system.name": "grpc", "rpc.method": method.name}
        span = self._tracer.start_span(
            method.name, context, trace.SpanKind.SERVER, attributes, start_time=began_ns
        )
        if not span.is_recording():
            return None
        skips = 0 if self._share else NEVER
        return Call(self._tracer, span, skips, self._gap, self._now_s, epoch_ns)


class Call:
    """One call's span, and those of its chunks."""

    # A look at `skips` for every step of a thousand streams: one object in memory, not two.
    __slots__ = (
        *("skips", "_chunks", "_errors", "_tokens", "_is_over"),
        *("_tracer", "_span", "_context", "_gap", "_now_s", "_epoch_ns"),
    )

    def __init__(
        self,
        tracer: trace.Tracer,
        span: trace.Span,
        skips: int,
        gap: Callable[[], int],
        clock: Callable[[], float],
        epoch_ns: int,
    ) -> None:
        """`skips` chunks go by first, and `gap` behind each that has spans. `epoch_ns`: when the
        clock showed 0."""
        self._tracer = tracer
        self._span = span
        self._context = trace.set_span_in_context(span)
        self._gap = gap
        self._now_s = clock
        self._epoch_ns = epoch_ns
        self.skips = self._chunks = skips
        """With those that are still to be skipped."""
        self._errors = self._tokens = 0
        self._is_over = False
        """A step that was taken in may be answered later."""

    def step(self, listener: Listener, model: Model, asked_s: float) -> Listener:
        self.skips = self._gap()
        self._chunks += 1 + self.skips

        def told(outcome: Chunk | Refusal) -> None:
            # The answer first.
            listener(outcome)
            if isinstance(outcome, Refusal):
                self._refused_step(model, asked_s, outcome)
            else:
                self._answered_step(model, asked_s, outcome)

        return told

    def generation(self, model: Model, session_id: str) -> None:
        self._span.set_attributes(_attributes(model, session_id))

    def sent(self, tokens: int) -> None:
        if tokens and not self._tokens:
            self._span.add_event("first token", timestamp=self._ns(self._now_s()))
        self._tokens += tokens

    def refused(self, refusal: Refusal) -> None:
        self._errors += 1
        if self._errors <= MAX_EVENTS and not self._is_over:
            self._span.add_event("refused", _why(refusal), self._ns(self._now_s()))

    def end(self, code: str, cause: Refusal | None = None) -> None:
        span, self._is_over = self._span, True
        span.set_attribute("rpc.response.status_code", code)
        if cause is not None:
            span.set_attributes(_why(cause))
        if code in FAILURES:
            span.set_status(trace.StatusCode.ERROR)
        chunks = self._chunks - self.skips
        counts = {"chunks": chunks, "errors": self._errors, "tokens": self._tokens}
        span.set_attributes({f"rnnserve.{name}": count for name, count in counts.items() if count})
        span.end(self._ns(self._now_s()))

    def _refused_step(self, model: Model, asked_s: float, refusal: Refusal) -> None:
        attributes = _attributes(model) | _why(refusal)
        failed = refusal.reason.fault is Fault.SERVER
        self._make("step", asked_s, self._now_s(), self._context, attributes, failed=failed)

    def _answered_step(self, model: Model, asked_s: float, chunk: Chunk) -> None:
        attributes = _attributes(model, chunk.session.id)
        attributes |= {"rnnserve.index": chunk.index, "rnnserve.steps": chunk.steps}
        if chunk.submitted_s < asked_s:
            # It waited and ran before, or does for the one who asked first.
            attributes["rnnserve.resent"] = True
            self._make("step", asked_s, self._now_s(), self._context, attributes)
            return
        attributes["rnnserve.batch.rows"] = model.statistics.last_rows
        committed_s = chunk.session.answered_s
        step = self._make("step", asked_s, committed_s, self._context, attributes)
        below = trace.set_span_in_context(step)
        self._make("queue", asked_s, chunk.started_s, below)
        self._make("run", chunk.started_s, committed_s, below)

    def _make(
        self,
        name: str,
        from_s: float,
        to_s: float,
        above: Context,
        attributes: Attributes | None = None,
        *,
        failed: bool = False,
    ) -> trace.Span:
        """A span that is over."""
        began_ns = self._ns(from_s)
        span = self._tracer.start_span(name, above, attributes=attributes, start_time=began_ns)
        if failed:
            span.set_status(trace.StatusCode.ERROR)
        span.end(self._ns(to_s))
        return span

    def _ns(self, at_s: float) -> int:
        """A time of the clock's as nanoseconds since 1970."""
        return self._epoch_ns + round(at_s * 1e9)


def gap(share: float, draw: Callable[[], float]) -> int:
    """How many chunks go by before the next of a share: drawn at once, with the same odds as one by
    one."""
    if share >= 1.0:
        return 0
    if share * NEVER < 1.0:
        return NEVER
    return int(min(math.log(1.0 - draw()) / math.log1p(-share), float(NEVER)))


def _context(metadata: Metadata) -> Context:
    """The caller's trace, or an empty context."""
    headers: dict[str, list[str]] = {}
    for key, value in metadata or ():
        if key in HEADERS:
            headers.setdefault(key, []).append(value)
    # Which of two would be the parent?
    if len(headers.get("traceparent", ())) > 1:
        return Context()
    return PROPAGATOR.extract(headers, Context())


def _attributes(model: Model, session_id: str = "") -> Attributes:
    spec = model.spec
    attributes: Attributes = {"rnnserve.model": spec.name, "rnnserve.model.version": spec.version}
    if session_id:
        attributes["rnnserve.session"] = session_id[:SHOWN_OF_ID]
    return attributes


def _why(refusal: Refusal) -> Attributes:
    """The reason and, of a bug, the id to be found in the log."""
    attributes: Attributes = {"error.type": str(refusal.reason)}
    if log_id := refusal.facts.get("log_id"):
        attributes["rnnserve.log_id"] = log_id
    return attributes


def _resource() -> Resource:
    """Who makes the spans. What the environment says of it goes first."""
    own = {
        "service.name": "rnnserve",
        "service.version": __version__,
        "service.instance.id": f"{socket.gethostname()}:{os.getpid()}",
    }
    return Resource.create(own).merge(OTELResourceDetector().detect())
