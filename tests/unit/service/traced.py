"""A wire without a network whose spans are kept."""

import asyncio
from collections.abc import Iterator
from itertools import repeat

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from rnnserve.ops.tracing import Spans
from rnnserve.v1 import rnnserve_pb2 as v1
from rnnserve.wire.tracing import Method
from small_models import small_model
from unit.service.calls import Client, Wire, turn

MODEL = small_model("gru", 1)
LONG = Method("a.Service/Stream", is_long=True)
SHORT = Method("a.Service/Exchange")
TRACE, ABOVE = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED, UNSAMPLED = f"00-{TRACE}-{ABOVE}-01", f"00-{TRACE}-{ABOVE}-00"
ALWAYS = repeat(0.0)
EPOCH_NS = 1_700_000_000 * 10**9


class Traced:
    """A wire whose spans are kept, on the engine's clock."""

    def __init__(self, share: float = 1.0, draws: Iterator[float] = ALWAYS, **engine) -> None:
        self.kept = InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self.kept))
        self.wire = Wire(MODEL, **engine)
        self.engine = self.wire.outside
        self.spans = Spans(
            provider.get_tracer("test"),
            share,
            clock=lambda: self.engine.now_s,
            wall_clock_ns=lambda: EPOCH_NS + round(self.engine.now_s * 1e9),
            draw=lambda: next(draws),
        )

    def call(self, method: Method = LONG, *traceparents: str):
        return self.spans.call(method, [("traceparent", value) for value in traceparents])

    def exchange(self, span, *operations: v1.Operation) -> asyncio.Task[v1.EventFrame]:
        frame = v1.OperationFrame(operations=operations)
        return asyncio.create_task(self.wire.streams.exchange(frame, Client(), span))

    async def answered(self, span, *operations: v1.Operation) -> None:
        """The operations, run to their end."""
        call = self.exchange(span, *operations)
        await turn()
        self.engine.run_all()
        await call

    def all(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.kept.get_finished_spans() if span.name == name]

    def one(self, name: str) -> ReadableSpan:
        (found,) = self.all(name)
        return found
