"""What a request says of itself beside its tensors.

`timeout` is honoured. `priority` is refused where it isn't zero, since nothing here has priorities.
Keys that are not the protocol's are the model's business in Triton, whose onnxruntime backend looks
at none of them; so it is here. Keys that begin with `triton_` are Triton's, and the one that its
clients always send asks for what every reply is here: final.
"""

import math
from dataclasses import dataclass

from rnnserve.engine.marks import Correlation
from rnnserve.errors import Reason, Refusal
from rnnserve.triton import grpc_service_pb2 as wire
from rnnserve.wire.inference.texts import wrong_parameter

MAX_ID_CHARACTERS = 128
ID_BITS = (1 << 64) - 1
EMPTY_FINAL = "triton_enable_empty_final_response"


@dataclass(frozen=True, slots=True)
class Parameters:
    """A request's parameters, understood."""

    correlation: Correlation | None
    """None: it belongs to no sequence."""
    start: bool
    end: bool
    timeout_s: float


def read_parameters(request: wire.ModelInferRequest) -> Parameters:
    """Raises Refusal (bad_parameter, not_offered), in Triton's words where it has some."""
    given = request.parameters
    for key in given:
        if key.startswith("triton_") and key != EMPTY_FINAL:
            raise Refusal(
                Reason.BAD_PARAMETER,
                "parameter keys starting with 'triton_' are reserved for Triton usage. Only the "
                f"following keys starting with 'triton_' are allowed: {EMPTY_FINAL}",
            )
    _flag(request, EMPTY_FINAL)
    if "priority" in given and _priority(given["priority"]):
        raise Refusal(
            Reason.NOT_OFFERED,
            "requests have no priorities here: leave 'priority' out, or send 0",
            parameter="priority",
        )
    return Parameters(
        _correlation(given["sequence_id"]) if "sequence_id" in given else None,
        _flag(request, "sequence_start"),
        _flag(request, "sequence_end"),
        _timeout_s(given["timeout"]) if "timeout" in given else math.inf,
    )


def _correlation(value: wire.InferParameter) -> Correlation | None:
    match value.WhichOneof("parameter_choice"):
        case "int64_param":
            # The protocol knows it as int64, and means the 64 bits.
            return value.int64_param & ID_BITS or None
        case "string_param":
            if len(value.string_param) > MAX_ID_CHARACTERS:
                raise Refusal(
                    Reason.NOT_OFFERED,
                    f"string correlation ID cannot be longer than {MAX_ID_CHARACTERS} characters",
                    parameter="sequence_id",
                )
            return value.string_param or None
        case _:
            raise wrong_parameter("sequence_id", "int64_param or string_param")


def _flag(request: wire.ModelInferRequest, key: str) -> bool:
    if key not in request.parameters:
        return False
    value = request.parameters[key]
    if value.WhichOneof("parameter_choice") != "bool_param":
        raise wrong_parameter(key, "bool_param")
    return value.bool_param


def _priority(value: wire.InferParameter) -> int:
    match value.WhichOneof("parameter_choice"):
        case "int64_param" if value.int64_param >= 0:
            return value.int64_param
        case "uint64_param":
            return value.uint64_param
        case _:
            raise wrong_parameter("priority", "int64_param (not negative) or uint64_param")


def _timeout_s(value: wire.InferParameter) -> float:
    """Microseconds on the wire; 0 is none."""
    if value.WhichOneof("parameter_choice") != "int64_param" or value.int64_param < 0:
        raise wrong_parameter("timeout", "int64_param (not negative)")
    return value.int64_param / 1e6 or math.inf
