"""Which calls are traced."""

import math
import random
import time
from collections.abc import Callable
from functools import partial

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from rnnserve.ops.tracing.call import NEVER, Call, named
from rnnserve.wire.tracing import Metadata, Method

PROPAGATOR = TraceContextTextMapPropagator()
HEADERS = PROPAGATOR.fields


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
        span = self._tracer.start_span(
            method.name, context, trace.SpanKind.SERVER, named(method), start_time=began_ns
        )
        if not span.is_recording():
            return None
        skips = 0 if self._share else NEVER
        return Call(self._tracer, span, method, skips, self._gap, self._now_s, epoch_ns)


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
