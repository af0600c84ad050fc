"""A request's inputs, held against what the model takes; and a chunk's answer as outputs.

On this wire every tensor of a model that has rows begins with them. Behind them comes time, where
the model has it, and then the shape of a step.
"""

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

from rnnserve.engine.chunk import Chunk, Memory
from rnnserve.errors import Reason, Refusal
from rnnserve.repository import strings
from rnnserve.repository.spec import CarrySpec, ModelSpec, Shape, TensorSpec, fits
from rnnserve.triton import grpc_service_pb2 as wire
from rnnserve.wire.inference.contents import memories
from rnnserve.wire.inference.datatypes import name_of
from rnnserve.wire.inference.texts import Words, short
from rnnserve.wire.shapes import can_exist
from rnnserve.wire.tensors import check_values


class Given(NamedTuple):
    """The inputs of a request, checked."""

    inputs: Memory
    shapes: tuple[Shape, ...] | None
    """Of each, without rows, where the model is shaped."""
    rows: int
    once: dict[str, bytes]
    """What a session sets once."""


def read_inputs(
    spec: ModelSpec, request: wire.ModelInferRequest, words: Words, *, starts: bool
) -> Given:
    """Check and order the inputs; `starts`: what a session sets once has to be there.

    Raises Refusal: wrong_input_count, unknown_input, missing_input, wrong_dtype, wrong_shape,
    batch_too_large, wrong_size, value_out_of_range, and what `memories` raises.
    """
    known: dict[str, TensorSpec | CarrySpec] = {tensor.name: tensor for tensor in spec.inputs}
    known |= {entry.input_name: entry for entry in spec.once}
    _check_names(spec, request, known, words, starts=starts)
    rows = _rows(spec, request, words)
    found = {t.name: _shape(spec, known[t.name], t, words) for t in request.inputs}
    shapes = tuple(found[tensor.name] for tensor in spec.inputs)
    if spec.has_time and len({shape[:1] for shape in shapes}) > 1:
        first, last = spec.inputs[0].name, spec.inputs[-1].name
        raise words.refusal(
            Reason.WRONG_SIZE, f"inputs {first!r} and {last!r} don't have as many steps"
        )
    given: dict[str, bytes] = {}
    for tensor, memory in memories(request, words):
        _check_memory(known[tensor.name], tensor, memory, words)
        given[tensor.name] = memory
    return Given(
        tuple(given[tensor.name] for tensor in spec.inputs),
        shapes if spec.is_shaped else None,
        rows,
        {e.input_name: given[e.input_name] for e in spec.once if e.input_name in given},
    )


def wanted_outputs(spec: ModelSpec, request: wire.ModelInferRequest, words: Words) -> Sequence[int]:
    """Which outputs the reply is to have, by their place in the spec.

    Raises Refusal: unknown_output, not_offered (classification, shared memory).
    """
    places = {tensor.name: place for place, tensor in enumerate(spec.outputs)}
    wanted: dict[int, None] = {}
    for output in request.outputs:
        if output.name not in places:
            raise words.unknown_output(output.name)
        for key in output.parameters:
            if key.startswith("shared_memory_") or key == "classification":
                raise Refusal(
                    Reason.NOT_OFFERED,
                    f"'{short(key)}' of an output is not offered",
                    parameter=short(key),
                )
        wanted[places[output.name]] = None
    return list(wanted) or range(len(spec.outputs))


def write_outputs(
    spec: ModelSpec, chunk: Chunk, wanted: Sequence[int], reply: wire.ModelInferResponse
) -> None:
    """Put a chunk's answer into the reply: always as bytes, one entry an output."""
    assert chunk.answer is not None
    for place in wanted:
        tensor = spec.outputs[place]
        shape = tensor.shape if chunk.answer_shapes is None else chunk.answer_shapes[place]
        time = (chunk.steps,) if spec.has_time else ()
        rows = (chunk.rows,) if spec.has_rows else ()
        reply.outputs.add(
            name=tensor.name, datatype=name_of(tensor.dtype), shape=(*rows, *time, *shape)
        )
        reply.raw_output_contents.append(chunk.answer[place])


def _check_names(
    spec: ModelSpec,
    request: wire.ModelInferRequest,
    known: dict[str, TensorSpec | CarrySpec],
    words: Words,
    *,
    starts: bool,
) -> None:
    names = [tensor.name for tensor in request.inputs]
    for name in names:
        if name not in known:
            raise words.unknown_input(name)
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise words.refusal(Reason.WRONG_INPUT_COUNT, f"input '{twice}' is there twice")
    required = [tensor.name for tensor in spec.inputs]
    if starts:
        required += [entry.input_name for entry in spec.once]
    if missing := [name for name in required if name not in names]:
        raise words.missing_inputs(len(required), names, missing)


def _rows(spec: ModelSpec, request: wire.ModelInferRequest, words: Words) -> int:
    """How many rows the inputs have."""
    if not spec.has_rows:
        return 1
    counts = {tensor.shape[0] if tensor.shape else 0 for tensor in request.inputs}
    if len(counts) > 1:
        raise words.refusal(Reason.WRONG_SHAPE, "the inputs differ in their batch size")
    (rows,) = counts
    if rows > spec.max_batch:
        raise words.batch_too_large(spec.max_batch)
    if rows > 1 and spec.is_sequential:
        raise words.batch_in_sequence()
    return rows


def _shape(
    spec: ModelSpec,
    wanted: TensorSpec | CarrySpec,
    tensor: wire.ModelInferRequest.InferInputTensor,
    words: Words,
) -> Shape:
    """The shape without rows. Raises Refusal: wrong_dtype, wrong_shape."""
    expected_type = name_of(wanted.dtype)
    if tensor.datatype != expected_type:
        raise words.wrong_dtype(tensor.name, tensor.datatype, expected_type)
    got = tuple(tensor.shape)
    shape = got[1:] if spec.has_rows else got
    time = (-1,) if spec.has_time and isinstance(wanted, TensorSpec) else ()
    expected = (*time, *wanted.shape)
    # Neither no rows at all nor no steps is a request.
    begun = got[: len(got) - len(wanted.shape)]
    has_rows = bool(got) or not spec.has_rows
    if not fits(shape, expected) or not can_exist(got) or 0 in begun or not has_rows:
        if spec.has_rows:
            raise words.wrong_shape_of_rows(tensor.name, expected, got)
        raise words.wrong_shape(tensor.name, expected, got)
    return shape


def _check_memory(
    wanted: TensorSpec | CarrySpec,
    tensor: wire.ModelInferRequest.InferInputTensor,
    memory: bytes,
    words: Words,
) -> None:
    """Hold the bytes against the shape, which is right, and their values against the model."""
    count = prod(tensor.shape)
    if wanted.dtype.kind == "O":
        _check_text(tensor.name, memory, count, words)
        return
    size_bytes = count * wanted.dtype.itemsize
    if len(memory) != size_bytes:
        raise words.wrong_size(tensor.name, size_bytes, len(memory))
    if isinstance(wanted, CarrySpec):
        wanted = TensorSpec(wanted.input_name, wanted.dtype, wanted.shape)
    try:
        check_values(wanted, memory)
    except Refusal as refusal:
        raise words.refusal(refusal.reason, refusal.message, **refusal.facts) from None


def _check_text(name: str, memory: bytes, count: int, words: Words) -> None:
    try:
        elements = strings.unpack(memory, strings.MAX_ELEMENTS)
    except ValueError:
        raise words.refusal(
            Reason.VALUE_OUT_OF_RANGE,
            f"input '{name}' is no text: each element needs its length (4 bytes) and UTF-8, and "
            f"there may be {strings.MAX_ELEMENTS} of them",
            input=name,
        ) from None
    if len(elements) != count:
        raise words.refusal(
            Reason.WRONG_SIZE,
            f"expected {count} string elements for inference input '{name}', got {len(elements)}",
            input=name,
        )
