"""The health port: the standard health service, in plaintext, and nothing else.

It has threads of its own, so that a probe is answered while the loop has much to do, and a loop
that doesn't turn any more is found out. Its services:

    ""          whether new sessions are taken, as on the gRPC port; `rnnserve.v1.RnnServe` and
                `inference.GRPCInferenceService` are the same
    liveness    whether the loop turns: while models load and sessions drain, too

It only answers Check: whoever wants to Watch asks the gRPC port. A watcher that doesn't read would
hold up gRPC's threads, and the protocol lets clients do without.

Source: the gRPC health checking protocol, `grpc.health.v1`.
"""

import time
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from rnnserve.errors import OperatorError

LIVENESS = "liveness"
TURNS_WITHIN_S = 5.0
"""A loop that hasn't turned for so long is stuck: it says ten times a second that it turns."""
THREADS = 2
STOP_WITHIN_S = 1.0
MAX_REQUEST_BYTES = 4096

_OPTIONS = [
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", MAX_REQUEST_BYTES),
]
_STATUS = health_pb2.HealthCheckResponse


class Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc]
    """Answers from any thread."""

    def __init__(
        self,
        services: Collection[str],
        is_ready: Callable[[], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`services` are ready when all is; `clock` tells seconds."""
        self._services = frozenset(services)
        self._is_ready = is_ready
        self._now_s = clock
        self._turned_s = clock()

    def turned(self) -> None:
        """The loop turns."""
        self._turned_s = self._now_s()

    def Check(
        self, request: health_pb2.HealthCheckRequest, context: grpc.ServicerContext
    ) -> health_pb2.HealthCheckResponse:
        turns = self._now_s() - self._turned_s <= TURNS_WITHIN_S
        if request.service == LIVENESS:
            serves = turns
        elif not request.service or request.service in self._services:
            serves = turns and self._is_ready()
        else:
            context.abort(grpc.StatusCode.NOT_FOUND, "no such service")
        return _STATUS(status=_STATUS.SERVING if serves else _STATUS.NOT_SERVING)


class HealthPort:
    """Answers from the beginning to `close`."""

    def __init__(self, host: str, port: int, health: Health) -> None:
        """Raises OperatorError when the port can't be had."""
        self._threads = ThreadPoolExecutor(THREADS, "health")
        self._server = grpc.server(self._threads, options=_OPTIONS)
        health_pb2_grpc.add_HealthServicer_to_server(health, self._server)
        try:
            self.port: int = self._server.add_insecure_port(f"{host}:{port}")
        except RuntimeError:
            self._threads.shutdown()
            raise OperatorError(
                f"can't listen on {host}:{port}: is the port taken? Choose another with "
                "--health-port"
            ) from None
        self._server.start()

    def close(self) -> None:
        """Answer no more."""
        self._server.stop(None).wait(STOP_WITHIN_S)
        self._threads.shutdown(wait=False, cancel_futures=True)
