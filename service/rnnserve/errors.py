"""What can go wrong, whose fault it is, and the one word for it.

A `Reason` is what clients match on and what the error metric is labelled with; it never changes
once released. The words are turned into gRPC status codes in one table, `wire/status.py`.
"""

from enum import Enum, StrEnum


class Fault(Enum):
    """Who has to act."""

    CALLER = "caller"
    """The request can't succeed as it is, now or later."""
    LOAD = "load"
    """The request was fine; the server has no room or is going away."""
    SERVER = "server"
    """The server or the model is at fault."""


class Reason(StrEnum):
    """One stable word for every way in which an operation fails."""

    MALFORMED = "malformed"
    MISSING_FIELD = "missing_field"
    UNKNOWN_MODEL = "unknown_model"
    NOT_OPEN = "not_open"
    UNKNOWN_SESSION = "unknown_session"
    SESSION_CLOSED = "session_closed"
    SESSION_EXPIRED = "session_expired"
    SESSION_TOO_OLD = "session_too_old"
    SESSION_BUSY = "session_busy"
    WRONG_DTYPE = "wrong_dtype"
    WRONG_SIZE = "wrong_size"
    WRONG_INPUT_COUNT = "wrong_input_count"
    VALUE_OUT_OF_RANGE = "value_out_of_range"
    EMPTY_CHUNK = "empty_chunk"
    CHUNK_TOO_LONG = "chunk_too_long"
    FRAME_TOO_LARGE = "frame_too_large"
    INDEX_GAP = "index_gap"
    INDEX_PAST = "index_past"
    OTHER_INPUT = "other_input"
    BAD_SAMPLING = "bad_sampling"
    CANNOT_GENERATE = "cannot_generate"
    TOO_MANY_FORKS = "too_many_forks"
    BAD_CARRY = "bad_carry"
    BLOB_DAMAGED = "blob_damaged"
    BLOB_FOREIGN = "blob_foreign"
    CANNOT_EXPORT = "cannot_export"
    WRONG_SHAPE = "wrong_shape"
    BATCH_TOO_LARGE = "batch_too_large"
    MISSING_INPUT = "missing_input"
    UNKNOWN_INPUT = "unknown_input"
    UNKNOWN_OUTPUT = "unknown_output"
    BAD_PARAMETER = "bad_parameter"
    NO_SEQUENCE_ID = "no_sequence_id"
    WRONG_SEQUENCE_ID = "wrong_sequence_id"
    SEQUENCE_NOT_STARTED = "sequence_not_started"
    SET_ONCE = "set_once"
    NOT_OFFERED = "not_offered"

    TOO_MANY_SESSIONS = "too_many_sessions"
    TOO_MANY_PENDING = "too_many_pending"
    NO_CARRY_ROOM = "no_carry_room"
    TOO_LATE = "too_late"
    OVERLOADED = "overloaded"
    DRAINING = "draining"
    MODEL_NOT_READY = "model_not_ready"

    MODEL_FAILED = "model_failed"
    INTERNAL = "internal"

    @property
    def fault(self) -> Fault:
        return _NOT_THE_CALLERS.get(self, Fault.CALLER)


_NOT_THE_CALLERS = {
    Reason.TOO_MANY_SESSIONS: Fault.LOAD,
    Reason.TOO_MANY_PENDING: Fault.LOAD,
    Reason.NO_CARRY_ROOM: Fault.LOAD,
    Reason.TOO_LATE: Fault.LOAD,
    Reason.OVERLOADED: Fault.LOAD,
    Reason.DRAINING: Fault.LOAD,
    Reason.MODEL_NOT_READY: Fault.LOAD,
    Reason.MODEL_FAILED: Fault.SERVER,
    Reason.INTERNAL: Fault.SERVER,
}


class Refusal(Exception):
    """An operation was refused or failed, and left everything as it was.

    `facts` are short values a program may act on (`expected`, `limit`, ...); `retry_after_s` is set
    where trying again makes sense.
    """

    def __init__(
        self,
        reason: Reason,
        message: str,
        *,
        retry_after_s: float | None = None,
        **facts: object,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.retry_after_s = retry_after_s
        self.facts = {key: str(value) for key, value in facts.items()}

    def again(self) -> "Refusal":
        """The same, to be raised anew: an exception that is raised twice keeps both tracebacks, and
        with them whatever was at work there."""
        again = Refusal(self.reason, self.message, retry_after_s=self.retry_after_s)
        again.facts = self.facts
        return again


class ModelProblem(Exception):
    """A model on disk can't be served. The message names the file or tensor and what to change."""


class OperatorError(Exception):
    """The person at the command line has to change something; the message says what."""
