"""What a test asks of tritonclient's inference calls, and what it gets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rnnserve.triton import grpc_service_pb2 as triton


@dataclass(frozen=True)
class Region:
    """A place in registered shared memory."""

    name: str
    byte_size: int
    offset: int = 0


@dataclass(frozen=True)
class Input:
    """One input, where an array alone doesn't say it."""

    name: str
    data: np.ndarray | None = None
    """None: the request comes without its bytes."""
    shape: Sequence[int] | None = None
    """Said instead of the array's own; the bytes stay."""
    datatype: str = ""
    """Needed without `data`."""
    region: Region | None = None


@dataclass(frozen=True)
class Output:
    """One wanted output, where its name alone doesn't say it."""

    name: str
    class_count: int = 0
    region: Region | None = None


@dataclass(frozen=True)
class Request:
    """The arguments of tritonclient's `infer`, by its names."""

    model_name: str
    inputs: Mapping[str, np.ndarray] | Sequence[Input]
    """Arrays of `object` hold bytes or str, and travel as BYTES."""
    outputs: Sequence[str | Output] | None = None
    model_version: str = ""
    request_id: str = ""
    sequence_id: int | str = 0
    sequence_start: bool = False
    sequence_end: bool = False
    priority: int = 0
    timeout: int | None = None
    """Microseconds."""
    parameters: Mapping[str, bool | int | float | str] | None = None
    options: Mapping[str, object] = field(default_factory=dict)
    """Further arguments: `headers`, `client_timeout` in seconds and `compression_algorithm` of a
    call; `enable_empty_final_response` of a request on a stream."""

    def wire(self) -> dict[str, object]:
        """As the line carries it."""
        inputs = self.inputs
        if isinstance(inputs, Mapping):
            inputs = [Input(name, data) for name, data in inputs.items()]
        outputs = self.outputs
        if outputs is not None:
            outputs = [Output(each) if isinstance(each, str) else each for each in outputs]
        facts = {name: value for name, value in vars(self).items() if name != "options"}
        return {**facts, **self.options, "inputs": _plain(inputs), "outputs": _plain(outputs)}


def _plain(value: Any) -> Any:
    """Dataclasses as dicts; `dataclasses.asdict` would copy the arrays."""
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, Input | Output | Region):
        return {name: _plain(each) for name, each in vars(value).items()}
    return value


@dataclass(frozen=True)
class Answer:
    """A request that went well."""

    response: triton.ModelInferResponse
    """As it came, without the outputs' bytes read."""
    outputs: dict[str, np.ndarray]
    """As tritonclient's `as_numpy` reads them; BYTES as arrays of bytes objects."""

    @property
    def parameters(self) -> dict[str, object]:
        """The response's parameters, each as its value."""
        found = self.response.parameters.items()
        return {name: getattr(one, str(one.WhichOneof("parameter_choice"))) for name, one in found}


class PeerError(Exception):
    """tritonclient raised, or handed an error to a callback."""

    def __init__(self, code: str | None, message: str) -> None:
        """`code` is gRPC's name of the status; None: it refused by itself, or a stream's error."""
        super().__init__(code, message)
        self.code = code
        self.message = message
