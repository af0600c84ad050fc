"""What a session sends: made once from what the server's `Opened` says; only the index changes."""

from functools import cache
from itertools import count
from typing import Any

import numpy as np

from rnnserve.client.codec import Tensor, encode, encode_shaped, read_tensor
from rnnserve.v1 import rnnserve_pb2 as v1
from rnnserve_bench.errors import BenchProblem
from rnnserve_bench.frames import ENTRY, ID, STEP, STEP_INDEX, field, varint

VARIANTS = 8
"""Different inputs of each length, sent by turns."""
MEANINGLESS_HIGH = 2
"""Whole numbers without a range are 0 or 1: nearly every model stands these."""
WORDS = ("one", "two", "three", "four")


class Inputs:
    """The inputs of one model, of any length, and how large their answers are."""

    def __init__(self, opened: v1.Opened, free_size: int, timeout_s: float, seed: int) -> None:
        """Raises BenchProblem where no input can be made up."""
        self._types = [tensor.data_type for tensor in opened.inputs]
        self._tensors = [read_tensor(tensor) for tensor in opened.inputs]
        self._outputs = [read_tensor(tensor) for tensor in opened.outputs]
        self._free_size = free_size
        self._timeout_us = round(timeout_s * 1e6)
        self._rng = np.random.default_rng(seed)
        self._turn = count()
        self._limit = 1 if opened.shaped else opened.limits.max_chunk_steps
        self.shaped = opened.shaped
        self._chunk = cache(self._make)

    def rest(self, steps: int) -> bytes:
        """The fields of a Step behind its index. Raises BenchProblem where the server takes fewer
        steps in a message."""
        return self._chunk(steps, next(self._turn) % VARIANTS)

    def is_right(self, stepped: v1.Stepped, index: int, steps: int) -> bool:
        """Whether this can be the answer: its index, and its size where that is known."""
        outputs = stepped.outputs
        if stepped.index != index or len(outputs) != len(self._outputs):
            return False
        if self.shaped:
            return True
        for output, tensor in zip(outputs, self._outputs, strict=True):
            if not tensor.is_text and len(output) != steps * tensor.step_bytes:
                return False
        return True

    def _make(self, steps: int, variant: int) -> bytes:
        if steps > self._limit:
            raise BenchProblem(
                f"--chunk {steps}: the server takes {self._limit} steps in a message"
            )
        arrays = [self._array(tensor, steps) for tensor in self._tensors]
        if self.shaped:
            encoded = encode_shaped([array[0] for array in arrays], self._tensors)
        else:
            encoded = encode(arrays, self._tensors)
        parts = [field(3, data) for data in encoded.inputs]
        parts.append(field(4, b"".join(varint(kind) for kind in self._types)))
        if self._timeout_us:
            parts.append(varint(5 << 3) + varint(self._timeout_us))
        for shape in encoded.shapes:
            parts.append(field(6, v1.Shape(dims=shape).SerializeToString()))
        return b"".join(parts)

    def _array(self, tensor: Tensor, steps: int) -> np.ndarray[Any, Any]:
        """Values that the server takes  # (T, *tensor.shape)"""
        sizes = [self._free_size if size < 0 else size for size in tensor.shape]
        shape = (steps, *sizes)
        kind = tensor.dtype.kind
        if tensor.is_text:
            return self._rng.choice(np.array(WORDS, dtype=object), shape)
        if kind == "f":
            return self._rng.standard_normal(shape).astype(tensor.dtype)
        low, high = tensor.low or 0, tensor.high or MEANINGLESS_HIGH
        if kind not in "iub":
            raise BenchProblem(f"no values of type {tensor.dtype} can be made up for {tensor.name}")
        return self._rng.integers(low, max(high, low + 1), shape).astype(tensor.dtype)


def step_head(session_id: str) -> bytes:
    """The beginning of each of a session's steps."""
    return field(1, session_id.encode()) + STEP_INDEX


def step_operation(head: bytes, index: int, rest: bytes, operation_id: bytes) -> bytes:
    """A frame's entry; `operation_id` is ID and its varint."""
    number = varint(index)
    step = varint(len(head) + len(number) + len(rest)) + head + number + rest
    size = len(operation_id) + 1 + len(step)
    return ENTRY + varint(size) + operation_id + STEP + step


def operation_id(number: int) -> bytes:
    """The field that names an operation."""
    return ID + varint(number)
