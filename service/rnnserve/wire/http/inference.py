"""An inference request as JSON, alone or with the tensors' bytes behind it, and the reply likewise.

The REST form of the Open Inference Protocol, with Triton's extensions of it: binary tensor data
(`binary_data_size`, `binary_data`, `binary_data_output`, and a header with the length of the JSON),
sequences, schedule policy. Only what JSON itself decides is looked at here: what a message of the
protocol says is right or wrong over HTTP for the reasons that it is over gRPC.

Sources: the protocol's `inference_rest` specification; Triton's `extension_binary_data`.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from rnnserve.errors import Reason, Refusal
from rnnserve.triton import grpc_service_pb2 as wire
from rnnserve.wire.http import document, tensors
from rnnserve.wire.http.document import INT64_END, UINT64_END, Fields, kind_of, malformed
from rnnserve.wire.http.messages import parameter_value

HEADER_LENGTH = "Inference-Header-Content-Length"
"""The header with the length of the JSON where bytes follow."""

Parameters = Mapping[str, wire.InferParameter]


@dataclass(frozen=True)
class AsBytes:
    """Which outputs a reply has as bytes."""

    all_others: bool
    single: Mapping[str, bool]
    """What was said of an output by its name."""

    def __contains__(self, name: str) -> bool:
        return self.single.get(name, self.all_others)


def read_request(
    body: bytes, header_length: str | None, name: str, version: str
) -> tuple[wire.ModelInferRequest, AsBytes]:
    """The request to a model and a version, and what the reply has as bytes.

    Raises Refusal: malformed, frame_too_large, wrong_dtype, wrong_shape, wrong_size,
    value_out_of_range.
    """
    length = _json_length(body, header_length)
    fields = Fields(document.read(body[:length]), "the request")
    _check_same(fields, "model_name", name)
    _check_same(fields, "model_version", version)
    request = wire.ModelInferRequest(
        model_name=name, model_version=version, id=fields.take("id", str, "")
    )
    parameters = fields.inner("parameters")
    all_others = parameters.take("binary_data_output", bool, False)
    _fill(request.parameters, parameters)
    tail = memoryview(body)[length:]
    for one in fields.each("inputs", "input"):
        tail = _read_input(request, one, tail)
    if tail:
        raise Refusal(Reason.WRONG_SIZE, f"{len(tail)} bytes follow that belong to no input")
    single: dict[str, bool] = {}
    for one in fields.each("outputs", "output"):
        wanted = request.outputs.add(name=one.need("name", str))
        parameters = one.inner("parameters")
        if "binary_data" in parameters:
            single[wanted.name] = parameters.need("binary_data", bool)
        _fill(wanted.parameters, parameters)
        one.done()
    fields.done()
    return request, AsBytes(all_others, single)


def write_json(reply: wire.ModelInferResponse, as_bytes: AsBytes) -> Iterator[str]:
    """The reply's JSON, in pieces none of which takes long to make."""
    head: dict[str, object] = {"id": reply.id} if reply.id else {}
    head |= {"model_name": reply.model_name, "model_version": reply.model_version}
    if reply.parameters:
        head["parameters"] = _values(reply.parameters)
    yield json.dumps(head)[:-1] + ', "outputs": ['
    between = ""
    for output, memory in zip(reply.outputs, reply.raw_output_contents, strict=True):
        said: dict[str, object] = {"name": output.name, "datatype": output.datatype}
        said["shape"] = list(output.shape)
        parameters = _values(output.parameters)
        if output.name in as_bytes:
            parameters["binary_data_size"] = len(memory)
        if parameters:
            said["parameters"] = parameters
        yield between + json.dumps(said)[:-1]
        if output.name not in as_bytes:
            yield ', "data": ['
            comma = ""
            for piece in tensors.elements(output.datatype, memory):
                yield comma + piece
                comma = ", "
            yield "]"
        yield "}"
        between = ", "
    yield "]}"


def write_bytes(reply: wire.ModelInferResponse, as_bytes: AsBytes) -> bytes | None:
    """What follows the JSON; None where no output was wanted as bytes."""
    parts = zip(reply.outputs, reply.raw_output_contents, strict=True)
    memories = [memory for output, memory in parts if output.name in as_bytes]
    return b"".join(memories) if memories else None


def _json_length(body: bytes, header: str | None) -> int:
    if header is None:
        return len(body)
    # Longer digits than any body has don't become a number.
    if not (header.isascii() and header.isdigit() and len(header) < 20):
        raise malformed(f"{HEADER_LENGTH} is no number")
    length = int(header)
    if length > len(body):
        raise malformed(f"{HEADER_LENGTH} is {length}, and the body has {len(body)} bytes")
    if not length:
        raise malformed(f"{HEADER_LENGTH} is 0: a request without JSON is not served here")
    return length


def _check_same(fields: Fields, key: str, wanted: str) -> None:
    """The path has it already; a request may repeat it, as some clients do."""
    said = fields.take(key, str, wanted)
    if wanted and said != wanted:
        raise malformed(f"{key!r} is {said[:80]!r}, and the path says {wanted[:80]!r}")


def _read_input(request: wire.ModelInferRequest, one: Fields, tail: memoryview) -> memoryview:
    """Add an input; what is left of the bytes behind the JSON."""
    tensor = request.inputs.add(
        name=one.need("name", str),
        datatype=one.need("datatype", str),
        shape=one.integers("shape", -INT64_END, INT64_END),
    )
    parameters = one.inner("parameters")
    if "binary_data_size" in parameters:
        size = parameters.integer("binary_data_size", 0, INT64_END)
        if size > len(tail):
            raise Refusal(
                Reason.WRONG_SIZE,
                f"'binary_data_size' of {one.name} is {size}, and {len(tail)} bytes are left",
            )
        request.raw_input_contents.append(bytes(tail[:size]))
        tail = tail[size:]
        if "data" in one:
            raise malformed(f"{one.name} has both 'data' and 'binary_data_size'")
    elif "data" in one:
        data = one.need("data", list)
        request.raw_input_contents.append(
            tensors.pack(one.name, tensor.datatype, tensor.shape, data)
        )
    elif "shared_memory_region" not in parameters:
        raise malformed(f"{one.name} has neither 'data' nor 'binary_data_size'")
    _fill(tensor.parameters, parameters)
    one.done()
    return tail


def _fill(target: Parameters, parameters: Fields) -> None:
    for key, value in parameters.rest().items():
        parameter = target[key]
        if isinstance(value, bool):
            parameter.bool_param = value
        elif isinstance(value, str):
            parameter.string_param = value
        elif isinstance(value, float):
            parameter.double_param = value
        elif isinstance(value, int) and -INT64_END <= value < UINT64_END:
            if value < INT64_END:
                parameter.int64_param = value
            elif key == "sequence_id":
                # The protocol knows it as int64, and means the 64 bits.
                parameter.int64_param = value - UINT64_END
            else:
                parameter.uint64_param = value
        else:
            what = "out of range" if isinstance(value, int) else kind_of(value)
            raise malformed(f"{key[:80]!r} in {parameters.name} is {what}")


def _values(parameters: Parameters) -> dict[str, object]:
    return {key: parameter_value(value) for key, value in parameters.items()}
