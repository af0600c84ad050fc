"""A collector of OpenTelemetry's, as far as spans go: it keeps what it is sent."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as otlp
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

WAIT_S = 20.0


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """A context manager; `endpoint` is for `--trace-endpoint`."""

    def __init__(self) -> None:
        self._server = grpc.server(ThreadPoolExecutor(2))
        trace_service_pb2_grpc.add_TraceServiceServicer_to_server(self, self._server)
        port = self._server.add_insecure_port("127.0.0.1:0")
        self.endpoint = f"http://127.0.0.1:{port}"
        self.spans: list[Span] = []
        self.resource: dict[str, object] = {}
        self._more = threading.Condition()

    def Export(
        self, request: otlp.ExportTraceServiceRequest, context: grpc.ServicerContext
    ) -> otlp.ExportTraceServiceResponse:
        with self._more:
            for resource in request.resource_spans:
                self.resource = attributes(resource.resource.attributes)
                for scope in resource.scope_spans:
                    self.spans += scope.spans
            self._more.notify_all()
        return otlp.ExportTraceServiceResponse()

    def trace(self, trace_id: bytes, until: Callable[[list[Span]], bool]) -> list[Span]:
        """The spans of a trace, once there are those that are waited for."""
        with self._more:
            assert self._more.wait_for(lambda: until(self._of(trace_id)), WAIT_S), self.spans
            return self._of(trace_id)

    def _of(self, trace_id: bytes) -> list[Span]:
        return [span for span in self.spans if span.trace_id == trace_id]

    def __enter__(self) -> "Collector":
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop(None).wait()


def attributes(pairs: list[KeyValue]) -> dict[str, object]:
    """Attributes as Python has them."""
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}
