"""Refusals as Triton words them, so that a client which reads sentences finds the ones it knows.

The reason stays ours, and so do the facts; code and sentence are Triton's where Triton has one.
What Triton puts off without a bound is refused here, as its full queue is: UNAVAILABLE.
"""

from collections.abc import Iterable, Sequence

import grpc

from rnnserve.engine.marks import Correlation
from rnnserve.errors import Fault, Reason, Refusal
from rnnserve.wire.status import CODES

MAX_NAME_CHARACTERS = 128
"""Of what comes from a client and goes into a sentence that becomes a header."""
MAX_PROBLEM_CHARACTERS = 1000
"""Of what is wrong with a model on disk: a status has to fit into the headers of a reply."""

BATCH_NOTE = (
    "NOTE: Setting a non-zero max_batch_size in the model config requires a batch dimension to be "
    "prepended to each input shape. If you want to specify the full shape including the batch dim "
    "in your input dims config, try setting max_batch_size to zero. See the model configuration "
    "docs for more info on max_batch_size."
)


def code_of(reason: Reason) -> grpc.StatusCode:
    """The status with which a client of this protocol is refused."""
    if reason.fault is Fault.LOAD:
        return grpc.StatusCode.UNAVAILABLE
    return CODES[reason]


class Words:
    """The sentences about one request to one model."""

    def __init__(self, model: str, request_id: str) -> None:
        self._given = model, request_id

    @property
    def _model(self) -> str:
        return short(self._given[0])

    @property
    def _prefix(self) -> str:
        return f"[request id: {short(self._given[1]) or '<id_unknown>'}] "

    def refusal(self, reason: Reason, text: str, **facts: str | int) -> Refusal:
        """A refusal of this request, with its id in front."""
        return Refusal(reason, self._prefix + text, retry_after_s=None, **facts)

    # What an input can be.

    def wrong_shape(self, name: str, expected: Sequence[int], got: Sequence[int]) -> Refusal:
        """Both with the rows, where the model has them (`expected` begins with -1 then)."""
        text = (
            f"unexpected shape for input '{short(name)}' for model '{self._model}'. "
            f"Expected {dims(expected)}, got {dims(got)}. "
        )
        return self.refusal(Reason.WRONG_SHAPE, text, input=short(name))

    def wrong_shape_of_rows(
        self, name: str, expected: Sequence[int], got: Sequence[int]
    ) -> Refusal:
        """The same for a model that takes rows."""
        plain = self.wrong_shape(name, (-1, *expected), got)
        return Refusal(plain.reason, plain.message + BATCH_NOTE, input=short(name))

    def wrong_dtype(self, name: str, got: str, expected: str) -> Refusal:
        return self.refusal(
            Reason.WRONG_DTYPE,
            f"inference input '{short(name)}' data-type is '{short(got)}', but model "
            f"'{self._model}' expects '{expected}'",
            input=short(name),
        )

    def wrong_size(self, name: str, expected: int, got: int) -> Refusal:
        return self.refusal(
            Reason.WRONG_SIZE,
            f"input byte size mismatch for input '{short(name)}' for model '{self._model}'. "
            f"Expected {expected}, got {got}",
            input=short(name),
        )

    def missing_inputs(self, wanted: int, got: Sequence[str], missing: Sequence[str]) -> Refusal:
        return self.refusal(
            Reason.MISSING_INPUT,
            f"expected {wanted} inputs but got {len(got)} inputs for model '{self._model}'. "
            f"Got input(s) {_listed(got)}, but missing required input(s) {_listed(missing)}. "
            "Please provide all required input(s).",
        )

    def unknown_input(self, name: str) -> Refusal:
        return Refusal(
            Reason.UNKNOWN_INPUT,
            f"unexpected inference input '{short(name)}' for model '{self._model}'",
        )

    def unknown_output(self, name: str) -> Refusal:
        return Refusal(
            Reason.UNKNOWN_OUTPUT,
            f"unexpected inference output '{short(name)}' for model '{self._model}'",
        )

    def batch_too_large(self, limit: int) -> Refusal:
        return self.refusal(
            Reason.BATCH_TOO_LARGE,
            f"inference request batch-size must be <= {limit} for '{self._model}'",
            limit=limit,
        )

    def no_data(self, name: str) -> Refusal:
        return Refusal(
            Reason.MISSING_FIELD,
            f"unable to find data for input tensor '{short(name)}' for model '{self._model}' in "
            "request.",
        )

    def data_twice(self, name: str) -> Refusal:
        return Refusal(
            Reason.MALFORMED,
            "contents field must not be specified when using raw_input_contents for "
            f"'{short(name)}' for model '{self._model}'",
        )

    # What a sequence can be.

    def batch_in_sequence(self) -> Refusal:
        return Refusal(
            Reason.BATCH_TOO_LARGE,
            f"inference request to model '{self._model}' must specify batch-size 1 due to "
            "requirements of sequence batcher",
            limit=1,
        )

    def no_sequence(self) -> Refusal:
        return Refusal(
            Reason.NO_SEQUENCE_ID,
            f"inference request to model '{self._model}' must specify a non-zero or non-empty "
            "correlation ID",
        )

    def wrong_sequence_id(self, control: str, got: str, expected: str) -> Refusal:
        return self.refusal(
            Reason.WRONG_SEQUENCE_ID,
            f"sequence batching control '{control}' data-type is '{got}', but model "
            f"'{self._model}' expects '{expected}'",
        )

    def of_engine(self, refusal: Refusal, correlation: Correlation | None, start: bool) -> Refusal:
        """What the engine refused, in Triton's words where it has some."""
        match refusal.reason:
            case Reason.SEQUENCE_NOT_STARTED:
                text = (
                    f"inference request for sequence {_id(correlation)} to model '{self._model}' "
                    "must specify the START flag on the first request of the sequence"
                    f"{_how(refusal)}"
                )
            case Reason.DRAINING if start:
                text = (
                    "Server is stopping, scheduler for model has stopped accepting new inference "
                    "requests"
                )
            case Reason.DRAINING:
                text = "GRPC server is shutting down and has stopped accepting new requests."
            case Reason.TOO_LATE if correlation is not None:
                text = "timeout of the corresponding sequence has been expired"
            case Reason.TOO_LATE:
                text = self._prefix + "Request timeout expired"
            case Reason.OVERLOADED | Reason.TOO_MANY_PENDING:
                text = self._prefix + "Exceeds maximum queue size"
            case _:
                text = self._prefix + refusal.message
        return Refusal(refusal.reason, text, retry_after_s=refusal.retry_after_s, **refusal.facts)


def unknown_model(name: str, version: str = "") -> Refusal:
    """No such model, or no such version of it."""
    which = f" version {short(version)}" if version else ""
    return Refusal(
        Reason.UNKNOWN_MODEL, f"Request for unknown model: '{short(name)}'{which} is not found"
    )


def no_version_ready(name: str) -> Refusal:
    return Refusal(
        Reason.UNKNOWN_MODEL,
        f"Request for unknown model: '{short(name)}' has no available versions",
    )


def version_not_ready(name: str, version: str) -> Refusal:
    return Refusal(
        Reason.MODEL_NOT_READY,
        f"Request for unknown model: '{short(name)}' version {short(version)} is not at ready "
        "state",
    )


def not_loaded(name: str, problem: str) -> Refusal:
    """A model can't be served as it lies in the repository."""
    text = f"failed to load '{short(name)}', {problem[:MAX_PROBLEM_CHARACTERS]}"
    return Refusal(Reason.MODEL_NOT_READY, text)


def bad_version(text: str) -> Refusal:
    return Refusal(
        Reason.BAD_PARAMETER,
        f"failed to get model version from specified version string '{short(text)}' (details: "
        "stol), version should be an integral value > 0",
    )


def wrong_parameter(key: str, expected: str) -> Refusal:
    return Refusal(
        Reason.BAD_PARAMETER,
        f"invalid value type for '{key}' parameter, expected {expected}.",
        parameter=key,
    )


def dims(shape: Sequence[int]) -> str:
    """A shape as Triton writes it; of one with more axes than any model has, the first."""
    return "[" + ",".join(map(str, shape[:32])) + "]"


def short(text: str) -> str:
    """ASCII and bounded: it becomes a header."""
    return text[:MAX_NAME_CHARACTERS].encode("ascii", "backslashreplace").decode()


def _id(correlation: Correlation | None) -> str:
    return short(str(correlation))


def _how(refusal: Refusal) -> str:
    """Whether there was such a sequence: what Triton leaves open."""
    cause = refusal.facts.get("cause", "unknown")
    return "; it has not started here" if cause == "unknown" else f"; it has ended ({cause})"


def _listed(names: Iterable[str]) -> str:
    return "[" + ",".join(f"'{short(name)}'" for name in list(names)[:32]) + "]"
