"""What a client raises, and how it is read from what the server sent."""

from collections.abc import Mapping
from typing import Any

import grpc
from google.rpc import error_details_pb2, status_pb2

from rnnserve.errors import Reason

TRANSPORT = "transport"
"""The reason of an error that comes from the connection: nobody on the other side said a word."""
DETAILS_KEY = "grpc-status-details-bin"
CODES: dict[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}


class ServerError(Exception):
    """An operation failed.

    `reason` is a word of `rnnserve.errors.Reason`, or "transport" when the connection failed;
    `facts` are short values a program may act on (`expected`, `limit`, ...); `retry_after_s` is set
    where trying again makes sense.
    """

    def __init__(
        self,
        reason: str,
        message: str,
        *,
        code: grpc.StatusCode = grpc.StatusCode.UNKNOWN,
        facts: Mapping[str, str] | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = str(reason)
        self.message = message
        self.code = code
        self.facts = dict(facts or {})
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}"

    def copy(self) -> "ServerError":
        """An equal one, for another caller: whoever raises an error adds to its traceback."""
        return ServerError(
            self.reason,
            self.message,
            code=self.code,
            facts=self.facts,
            retry_after_s=self.retry_after_s,
        )


class BadInput(ServerError):
    """Refused before it was sent, with the word the server would have used.

    Nothing has happened: the session stands where it stood.
    """

    def __init__(self, reason: Reason, message: str, **facts: object) -> None:
        super().__init__(
            reason,
            message,
            code=grpc.StatusCode.INVALID_ARGUMENT,
            facts={key: str(value) for key, value in facts.items()},
        )


def from_status(status: status_pb2.Status) -> ServerError:
    """The error of one operation, as an event carries it."""
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    retry_after_s = None
    for detail in status.details:
        if detail.Is(info.DESCRIPTOR):
            detail.Unpack(info)
        elif detail.Is(retry.DESCRIPTOR):
            detail.Unpack(retry)
            retry_after_s = retry.retry_delay.ToTimedelta().total_seconds()
    return ServerError(
        info.reason or TRANSPORT,
        status.message or "the server gave no message",
        code=CODES.get(status.code, grpc.StatusCode.UNKNOWN),
        facts=dict(info.metadata),
        retry_after_s=retry_after_s,
    )


def from_rpc_error(error: grpc.RpcError) -> ServerError:
    """The error that ended a whole call, of grpc or of grpc.aio."""
    metadata: Any = error.trailing_metadata()  # pairs, in two types
    for key, value in metadata or ():
        if key == DETAILS_KEY:
            return from_status(status_pb2.Status.FromString(value))
    return ServerError(TRANSPORT, error.details() or "the call failed", code=error.code())
