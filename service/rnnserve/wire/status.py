"""Refusals as gRPC statuses: the one table from reason to code, and what goes with a code."""

import logging
import secrets
from functools import lru_cache

import grpc
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2

from rnnserve.errors import Reason, Refusal

logger = logging.getLogger(__name__)

DOMAIN = "rnnserve"
DETAILS_KEY = "grpc-status-details-bin"

CODES: dict[Reason, grpc.StatusCode] = {
    Reason.MALFORMED: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.MISSING_FIELD: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.UNKNOWN_MODEL: grpc.StatusCode.NOT_FOUND,
    Reason.NOT_OPEN: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.UNKNOWN_SESSION: grpc.StatusCode.NOT_FOUND,
    Reason.SESSION_CLOSED: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.SESSION_EXPIRED: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.SESSION_TOO_OLD: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.SESSION_BUSY: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.WRONG_DTYPE: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.WRONG_SIZE: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.WRONG_INPUT_COUNT: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.VALUE_OUT_OF_RANGE: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.EMPTY_CHUNK: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.CHUNK_TOO_LONG: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.FRAME_TOO_LARGE: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.INDEX_GAP: grpc.StatusCode.OUT_OF_RANGE,
    Reason.INDEX_PAST: grpc.StatusCode.ALREADY_EXISTS,
    Reason.OTHER_INPUT: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.BAD_SAMPLING: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.CANNOT_GENERATE: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.TOO_MANY_FORKS: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.BAD_CARRY: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.BLOB_DAMAGED: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.BLOB_FOREIGN: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.CANNOT_EXPORT: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.WRONG_SHAPE: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.BATCH_TOO_LARGE: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.MISSING_INPUT: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.UNKNOWN_INPUT: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.UNKNOWN_OUTPUT: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.BAD_PARAMETER: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.NO_SEQUENCE_ID: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.WRONG_SEQUENCE_ID: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.SEQUENCE_NOT_STARTED: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.SET_ONCE: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.NOT_OFFERED: grpc.StatusCode.UNIMPLEMENTED,
    Reason.TOO_MANY_SESSIONS: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Reason.TOO_MANY_PENDING: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Reason.NO_CARRY_ROOM: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Reason.TOO_LATE: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Reason.OVERLOADED: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Reason.DRAINING: grpc.StatusCode.UNAVAILABLE,
    Reason.MODEL_NOT_READY: grpc.StatusCode.UNAVAILABLE,
    Reason.MODEL_FAILED: grpc.StatusCode.INTERNAL,
    Reason.INTERNAL: grpc.StatusCode.INTERNAL,
}


def status_of(refusal: Refusal, code: grpc.StatusCode | None = None) -> status_pb2.Status:
    """The refusal as google.rpc.Status with ErrorInfo and, where retrying helps, RetryInfo; `code`
    where it isn't the table's."""
    return _status(
        code,
        refusal.reason,
        refusal.message,
        tuple(refusal.facts.items()),
        refusal.retry_after_s,
    )


@lru_cache(maxsize=32)
def _status(
    code: grpc.StatusCode | None,
    reason: Reason,
    message: str,
    facts: tuple[tuple[str, str], ...],
    retry_after_s: float | None,
) -> status_pb2.Status:
    """Not to be changed: in a crowd that is refused, the next one is told the same, and making it
    takes half of what a refusal costs."""
    status = status_pb2.Status(code=(code or CODES[reason]).value[0], message=message)
    info = error_details_pb2.ErrorInfo(reason=reason, domain=DOMAIN, metadata=dict(facts))
    status.details.add().Pack(info)
    if retry_after_s is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromNanoseconds(round(retry_after_s * 1e9))
        packed = any_pb2.Any()
        packed.Pack(retry)
        status.details.append(packed)
    return status


def internal(error: Exception) -> Refusal:
    """A bug, as the caller may see it: an id to be found in the log, and nothing of the inside."""
    log_id = secrets.token_hex(6)
    logger.error("unexpected error, log id %s", log_id, exc_info=error)
    return Refusal(Reason.INTERNAL, f"the server failed; log id {log_id}", log_id=log_id)
