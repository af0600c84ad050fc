"""How the two clients reach a server."""

import grpc

from rnnserve.client.errors import TRANSPORT, ServerError
from rnnserve.v1 import rnnserve_pb2 as pb

MAX_RECEIVED_BYTES = 64 * 1024 * 1024
DESCRIBE_TIMEOUT_S = 30.0
CLOSE_TIMEOUT_S = 5.0
"""How long leaving a session waits for the server; the session then ends by its idle timeout."""
BUSY_PAUSES_S = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
"""Waits between asking whether the server has noticed that a generation was left."""
OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_receive_message_length", MAX_RECEIVED_BYTES),
    ("grpc.max_send_message_length", -1),
    # A connection that went dead without a word is noticed within 80 s, while calls are open.
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.keepalive_permit_without_calls", 0),
    # A server that restarts is found again soon.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 5_000),
)

NO_COMPRESSION = grpc.Compression.NoCompression

_BROKEN_OFF = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED})
_REPEATABLE = frozenset({"step", "reset", "export"})


def broke_off(error: ServerError) -> bool:
    """Whether the connection or the server's process went away, so that what can't happen twice
    may go again."""
    return error.code in _BROKEN_OFF


def may_go_twice(operation: pb.Operation) -> bool:
    """Whether the server can't do it twice: steps and resets name their index, exports change
    nothing."""
    return operation.WhichOneof("kind") in _REPEATABLE


def telling(first: ServerError, then: ServerError) -> ServerError:
    """Of the errors of two attempts: the server's word (it is draining) says more than the silence
    after it."""
    return first if then.reason == TRANSPORT and first.reason != TRANSPORT else then


def options_for(server_name: str | None) -> tuple[tuple[str, int | str], ...]:
    """How to reach a server; with TLS, its certificate must be for `server_name` where that is
    given, and not for the target's."""
    if server_name is None:
        return OPTIONS
    return (*OPTIONS, ("grpc.ssl_target_name_override", server_name))
