"""A step's bytes, held against what the model takes."""

import numpy as np

from rnnserve.engine.chunk import Memory
from rnnserve.errors import Reason, Refusal
from rnnserve.repository.spec import ModelSpec, TensorSpec
from rnnserve.v1 import rnnserve_pb2 as v1

FEW_BYTES = 512
"""Of tokens; with more, NumPy is quicker at finding the largest."""


def check(spec: ModelSpec, step: v1.Step) -> Memory:
    """The step's inputs in the spec's order, T >= 1 steps of each; what is left to the model is
    what only it can know.

    Raises Refusal: wrong_input_count, wrong_dtype, wrong_size, empty_chunk, value_out_of_range.
    """
    given, token, types = step.inputs, spec.token, step.data_types
    if types and list(types) != spec.input_types:
        raise wrong_types(spec)
    # The common case first, in a fifth of the time: some tokens.
    if token is not None and len(given) == 1:
        memory = given[0]
        if (
            0 < len(memory) <= FEW_BYTES
            and not len(memory) % token.size_bytes
            and max(memoryview(memory).cast(token.unsigned)) < token.high
        ):
            return (memory,)
    inputs = tuple(given)
    if len(inputs) != len(spec.inputs):
        raise wrong_count(spec, len(inputs))
    steps = len(inputs[0]) // max(1, spec.inputs[0].step_bytes)
    for tensor, memory in zip(spec.inputs, inputs, strict=True):
        if len(memory) != steps * tensor.step_bytes:
            raise _wrong_size(spec, tensor, len(memory), steps)
        if tensor.low is not None or tensor.dtype.kind == "b":
            check_values(tensor, memory)
    if steps == 0:
        raise Refusal(Reason.EMPTY_CHUNK, "a chunk needs at least one step")
    return inputs


def wrong_count(spec: ModelSpec, count: int) -> Refusal:
    return Refusal(
        Reason.WRONG_INPUT_COUNT,
        f"{count} inputs; {spec.name} takes {[tensor.name for tensor in spec.inputs]}",
        expected=len(spec.inputs),
    )


def wrong_types(spec: ModelSpec) -> Refusal:
    wanted = {
        tensor.name: v1.DataType.Name(v1.DataType.ValueType(number))
        for tensor, number in zip(spec.inputs, spec.input_types, strict=True)
    }
    return Refusal(Reason.WRONG_DTYPE, f"the inputs' types must be {wanted}")


def _wrong_size(spec: ModelSpec, tensor: TensorSpec, size_bytes: int, steps: int) -> Refusal:
    if size_bytes % tensor.step_bytes:
        return Refusal(
            Reason.WRONG_SIZE,
            f"input {tensor.name!r} has {size_bytes} bytes, no multiple of the "
            f"{tensor.step_bytes} of one step",
            input=tensor.name,
            step_bytes=tensor.step_bytes,
        )
    return Refusal(
        Reason.WRONG_SIZE,
        f"input {tensor.name!r} has {size_bytes // tensor.step_bytes} steps, "
        f"{spec.inputs[0].name!r} {steps}",
        input=tensor.name,
    )


def check_values(tensor: TensorSpec, memory: bytes) -> None:
    """Refuse (value_out_of_range) what the graph would fail on."""
    if tensor.dtype.kind == "b":
        low, high = 0, 2
    elif tensor.low is not None and tensor.high is not None:
        low, high = tensor.low, tensor.high
    else:
        return
    if not memory:
        return
    array = np.frombuffer(memory, np.uint8 if tensor.dtype.kind == "b" else tensor.dtype)
    least, most = array.min(), array.max()
    if not (low <= least and most < high):
        found = least if not low <= least else most
        raise Refusal(
            Reason.VALUE_OUT_OF_RANGE,
            f"input {tensor.name!r} has the value {found}; allowed are {low} to {high - 1}",
            input=tensor.name,
            low=low,
            high=high,
        )
