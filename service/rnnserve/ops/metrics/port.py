"""The HTTP port of /metrics, in a thread of its own: it answers while the event loop is busy."""

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import start_http_server


class MetricsPort:
    """Answers from its making until `close`."""

    def __init__(self, registry: CollectorRegistry, host: str, port: int) -> None:
        """Raises OSError when the port is taken."""
        self._server, self._thread = start_http_server(port, host, registry)
        self.port = self._server.server_port

    def close(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
