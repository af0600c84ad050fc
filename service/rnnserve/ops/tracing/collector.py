"""Where spans go: a collector that speaks OTLP.

The SDK reads the standard variables OTEL_* itself, as everywhere (headers, certificates, limits of
its queue, resource attributes, a sampler of its own); what rnnserve has options for goes by them.
"""

import os
import socket
import threading

from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from rnnserve import __version__
from rnnserve.errors import OperatorError
from rnnserve.ops.tracing.spans import Spans

FLUSH_S = 1.0
"""At the end, spans that wait have so long to get to the collector."""


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


def _resource() -> Resource:
    """Who makes the spans. What the environment says of it goes first."""
    own = {
        "service.name": "rnnserve",
        "service.version": __version__,
        "service.instance.id": f"{socket.gethostname()}:{os.getpid()}",
    }
    return Resource.create(own).merge(OTELResourceDetector().detect())
