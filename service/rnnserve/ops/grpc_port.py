"""The gRPC port: both contracts, health and reflection on one server."""

import grpc
from google.protobuf.descriptor import ServiceDescriptor
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from rnnserve.errors import OperatorError
from rnnserve.settings import ServeSettings
from rnnserve.wire.methods import register

ROOM_FOR_REFUSAL_BYTES = 1 << 20
"""gRPC itself ends a stream on a message over its limit; up to this much more is refused by us."""


class GrpcPort:
    """Answers from `start` to `stop`; health says SERVING in between, from `set_ready` on."""

    def __init__(
        self,
        settings: ServeSettings,
        servicers: list[tuple[ServiceDescriptor, object]],
        credentials: grpc.ServerCredentials | None = None,
    ) -> None:
        """Bind the port; with `credentials` it speaks TLS alone. Raises OperatorError when it can't
        be had."""
        self._names = [service.full_name for service, _ in servicers]
        self._health = health.aio.HealthServicer()
        self._server = _server(
            settings.max_frame_bytes + ROOM_FOR_REFUSAL_BYTES, settings.max_connection_age_s
        )
        for service, servicer in servicers:
            register(service, servicer, self._server, settings.max_frame_bytes)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        names = (*self._names, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self._server)
        # gRPC's core asks them anew for every connection, and keeps nothing alive.
        self._credentials = credentials
        self.port = _bind(self._server, f"{settings.host}:{settings.port}", credentials)

    async def start(self) -> None:
        await self._server.start()

    async def set_ready(self) -> None:
        for name in ("", *self._names):
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)

    async def set_not_ready(self) -> None:
        """For good: health says NOT_SERVING from now on."""
        await self._health.enter_graceful_shutdown()

    async def stop(self, grace_s: float | None) -> None:
        """Take no more calls, give those under way so long, and end the rest."""
        await self._server.stop(grace_s)


def _server(limit_bytes: int, max_age_s: float) -> grpc.aio.Server:
    ages = [("grpc.max_connection_age_ms", round(max_age_s * 1e3))] if max_age_s else []
    return grpc.aio.server(
        options=[
            *ages,
            ("grpc.max_receive_message_length", limit_bytes),
            ("grpc.max_send_message_length", -1),
            # Streams live long; let clients find out that we are gone, and the reverse.
            ("grpc.keepalive_time_ms", 60_000),
            ("grpc.keepalive_timeout_ms", 20_000),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
            # Two servers on one port would share its clients without a word.
            ("grpc.so_reuseport", 0),
            # A message's size is checked before it is decompressed.
            ("grpc.compression_enabled_algorithms_bitset", 1),
        ]
    )


def _bind(server: grpc.aio.Server, address: str, credentials: grpc.ServerCredentials | None) -> int:
    try:
        if credentials is not None:
            return server.add_secure_port(address, credentials)
        return server.add_insecure_port(address)
    except RuntimeError:
        raise OperatorError(
            f"can't listen on {address}: is the port taken? Choose another with --port"
        ) from None
