"""The bytes of a request's tensors: as they came, or from the protocol's typed lists."""

from collections.abc import Iterator

import numpy as np

from rnnserve.errors import Reason, Refusal
from rnnserve.repository.strings import LENGTH
from rnnserve.triton import grpc_service_pb2 as wire
from rnnserve.wire.inference.texts import Words

Tensor = wire.ModelInferRequest.InferInputTensor

FIELDS: dict[str, tuple[str, str]] = {
    "BOOL": ("bool_contents", "?"),
    "INT8": ("int_contents", "<i1"),
    "INT16": ("int_contents", "<i2"),
    "INT32": ("int_contents", "<i4"),
    "INT64": ("int64_contents", "<i8"),
    "UINT8": ("uint_contents", "<u1"),
    "UINT16": ("uint_contents", "<u2"),
    "UINT32": ("uint_contents", "<u4"),
    "UINT64": ("uint64_contents", "<u8"),
    "FP32": ("fp32_contents", "<f4"),
    "FP64": ("fp64_contents", "<f8"),
}
"""Which list has a type's elements, and how they lie in memory. FP16 has none."""


def memories(request: wire.ModelInferRequest, words: Words) -> Iterator[tuple[Tensor, bytes]]:
    """Every input with its bytes, little-endian and row-major.

    Raises Refusal: not_offered (shared memory), malformed, missing_field, wrong_size,
    value_out_of_range.
    """
    raw = request.raw_input_contents
    for place, tensor in enumerate(request.inputs):
        for key in tensor.parameters:
            if key.startswith("shared_memory_"):
                raise Refusal(
                    Reason.NOT_OFFERED,
                    f"shared memory is not offered: send the bytes of input {tensor.name[:80]!r}",
                )
        if not raw:
            yield tensor, _typed(tensor, words)
            continue
        if tensor.HasField("contents"):
            raise words.data_twice(tensor.name)
        if place >= len(raw):
            raise words.no_data(tensor.name)
        yield tensor, raw[place]
    if len(raw) > len(request.inputs):
        raise words.refusal(
            Reason.WRONG_INPUT_COUNT,
            f"{len(raw)} raw_input_contents came for {len(request.inputs)} inputs",
        )


def _typed(tensor: Tensor, words: Words) -> bytes:
    contents = tensor.contents
    filled = [field.name for field, _ in contents.ListFields()]
    if tensor.datatype == "BYTES":
        wanted = "bytes_contents"
    elif tensor.datatype in FIELDS:
        wanted, code = FIELDS[tensor.datatype]
    elif filled:
        raise words.refusal(
            Reason.WRONG_DTYPE,
            f"input {tensor.name[:80]!r} is {tensor.datatype[:16]}, which has no typed contents: "
            "send it in raw_input_contents",
        )
    else:
        raise words.no_data(tensor.name)
    if any(name != wanted for name in filled):
        raise words.refusal(
            Reason.WRONG_DTYPE,
            f"input {tensor.name[:80]!r} is {tensor.datatype}: its elements belong in {wanted}",
        )
    if not filled:
        # An empty list can't be told from a missing one; only an empty tensor has one.
        if 0 in tensor.shape:
            return b""
        raise words.no_data(tensor.name)
    if wanted == "bytes_contents":
        return b"".join(LENGTH.pack(len(one)) + one for one in contents.bytes_contents)
    values = getattr(contents, wanted)
    if tensor.datatype[-1] in "86":
        _check_narrow(tensor, values, code, words)
    return np.array(values, code).tobytes()


def _check_narrow(tensor: Tensor, values: list[int], code: str, words: Words) -> None:
    """Small integers travel as wider ones."""
    bounds = np.iinfo(code)
    if not bounds.min <= min(values) <= max(values) <= bounds.max:
        raise words.refusal(
            Reason.VALUE_OUT_OF_RANGE,
            f"input {tensor.name[:80]!r} has a value that is no {tensor.datatype}",
        )
