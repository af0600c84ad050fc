"""One call's span, and those of its chunks."""

from collections.abc import Callable

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.util.types import AttributeValue

from rnnserve.engine.chunk import Chunk, Listener
from rnnserve.engine.model import Model
from rnnserve.errors import Fault, Refusal
from rnnserve.wire.tracing import Method

SHOWN_OF_ID = 6
"""Characters of a session's id."""
NEVER = 1 << 62
"""So many chunks no call has."""
MAX_EVENTS = 32
"""Of one call: the errors behind them are only counted."""
FAILURES = frozenset(
    ("UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS")
)
"""gRPC's status codes with which a server has failed; the others are the caller's."""
LEAST_FAILURE = 500
"""Of HTTP's."""

Attributes = dict[str, AttributeValue]


class Call:
    """One call's span, and those of its chunks."""

    # A look at `skips` for every step of a thousand streams: one object in memory, not two.
    __slots__ = (
        *("skips", "_chunks", "_errors", "_tokens", "_is_over"),
        *("_tracer", "_span", "_is_http", "_context", "_gap", "_now_s", "_epoch_ns"),
    )

    def __init__(
        self,
        tracer: trace.Tracer,
        span: trace.Span,
        method: Method,
        skips: int,
        gap: Callable[[], int],
        clock: Callable[[], float],
        epoch_ns: int,
    ) -> None:
        """`skips` chunks go by first, and `gap` behind each that has spans. `epoch_ns`: when the
        clock showed 0."""
        self._tracer = tracer
        self._span = span
        self._is_http = method.is_http
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
        if not self._is_http:
            span.set_attribute("rpc.response.status_code", code)
        elif code:
            span.set_attribute("http.response.status_code", int(code))
        if cause is not None:
            span.set_attributes(_why(cause))
        if self._has_failed(code, cause):
            span.set_status(trace.StatusCode.ERROR)
        chunks = self._chunks - self.skips
        counts = {"chunks": chunks, "errors": self._errors, "tokens": self._tokens}
        span.set_attributes({f"rnnserve.{name}": count for name, count in counts.items() if count})
        span.end(self._ns(self._now_s()))

    def _has_failed(self, code: str, cause: Refusal | None) -> bool:
        """Whether the server did; the rest is the caller's."""
        if not self._is_http:
            return code in FAILURES
        if cause is not None and cause.reason.fault is Fault.SERVER:
            # Maybe after the response had begun with 200.
            return True
        return bool(code) and int(code) >= LEAST_FAILURE

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


def named(method: Method) -> Attributes:
    """What a call's span says of what is called."""
    if not method.is_http:
        return {"rpc.system.name": "grpc", "rpc.method": method.name}
    verb, _, route = method.name.partition(" ")
    return {
        "http.request.method": verb,
        "http.route": route,
        "url.path": method.path,
        "url.scheme": "http",
    }


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
