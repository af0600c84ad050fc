"""What a model takes, gives and carries: frozen facts, read once from `config.pbtxt`."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from rnnserve.repository.dtypes import dtype_number


@dataclass(frozen=True)
class TensorSpec:
    """An input or an output. `shape` is that of one step: without rows and without time."""

    name: str
    dtype: np.dtype
    shape: tuple[int, ...]
    low: int | None = None
    """Least value allowed, where the graph would fail on less."""
    high: int | None = None
    """First value no longer allowed."""

    @cached_property
    def step_bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


@dataclass(frozen=True)
class CarrySpec:
    """One array handed from step to step. `shape` is that of one session: without rows."""

    input_name: str
    output_name: str
    dtype: np.dtype
    shape: tuple[int, ...]

    @property
    def row_bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


class Token(NamedTuple):
    """An input that is one bounded integer a step."""

    low: int
    high: int
    size_bytes: int
    signed: bool


@dataclass(frozen=True)
class ModelSpec:
    """One version of a model. The order of the tuples is the order on the wire."""

    name: str
    version: int
    max_batch: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    carry: tuple[CarrySpec, ...]

    @cached_property
    def carry_bytes(self) -> int:
        """Bytes that one session keeps from step to step."""
        return sum(entry.row_bytes for entry in self.carry)

    @cached_property
    def reply_bytes(self) -> int:
        """Bytes that one step gives."""
        return sum(tensor.step_bytes for tensor in self.outputs)

    @cached_property
    def step_bytes(self) -> int:
        """Bytes that one step takes and gives."""
        return sum(tensor.step_bytes for tensor in self.inputs) + self.reply_bytes

    @cached_property
    def input_types(self) -> list[int]:
        """The inputs' types by their numbers in Triton's model configuration."""
        return [dtype_number(tensor.dtype) for tensor in self.inputs]

    @cached_property
    def token(self) -> Token | None:
        """The only input, where it is one bounded integer a step."""
        tensor = self.inputs[0]
        if len(self.inputs) != 1 or tensor.shape != () or tensor.dtype.kind not in "iu":
            return None
        if tensor.low is None or tensor.high is None:
            return None
        return Token(tensor.low, tensor.high, tensor.dtype.itemsize, tensor.dtype.kind == "i")

    @property
    def predicts_tokens(self) -> bool:
        """Whether a token goes in and one score for each token comes out: it can generate."""
        if len(self.inputs) != 1 or len(self.outputs) != 1:
            return False
        token, scores = self.inputs[0], self.outputs[0]
        return (
            token.dtype.kind in "iu"
            and token.shape == ()
            and token.low == 0
            and scores.dtype.kind == "f"
            and scores.shape == (token.high,)
        )
