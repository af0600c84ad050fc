"""What a model takes, gives and carries: frozen facts, read once from `config.pbtxt`.

A model has one of two forms:

    regular   every step has the same shape. A message is T steps, told by its length alone;
              where the graph has a time axis, a chunk of them runs in blocks
    shaped    a message brings its shapes and is one step, whatever its size: some dimension is
              free, or it holds text, or (without sequences) several rows
"""

import math
import sys
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np

from rnnserve.repository.dtypes import dtype_number

FREE = -1
"""A dimension that each message decides for itself."""

Shape = tuple[int, ...]


def fits(found: Shape, wanted: Shape) -> bool:
    """Whether something has a shape, some of whose dimensions may be free."""
    return len(found) == len(wanted) and all(
        want in (FREE, dim) for dim, want in zip(found, wanted, strict=True)
    )


@dataclass(frozen=True)
class TensorSpec:
    """An input or an output. `shape` is that of one step: without rows and without time."""

    name: str
    dtype: np.dtype
    shape: Shape
    low: int | None = None
    """Least value allowed, where the graph would fail on less."""
    high: int | None = None
    """First value no longer allowed."""
    graph_shape: Shape | None = None
    """What `shape` is in the graph, where a reshape stands between them."""
    batch_axis: int = 0
    """Where the graph has the rows."""

    @cached_property
    def step_bytes(self) -> int:
        """Of one step, where its shape is fixed."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def is_fixed(self) -> bool:
        """Whether every step has the same number of bytes."""
        return FREE not in self.shape and self.dtype.kind != "O"


@dataclass(frozen=True)
class CarrySpec:
    """One array handed from step to step. `shape` is that of one session: without rows.

    Without an `output_name` the graph gives none back: the session keeps what it began with.
    """

    input_name: str
    output_name: str
    dtype: np.dtype
    shape: Shape
    initial: bytes = b""
    """What a session begins with, row-major; empty: zeros."""
    initial_shape: Shape | None = None
    """Its shape, where `shape` is free."""
    batch_axis: int = 0
    """Where the graph has the rows, of the input and of the output."""

    @property
    def begins_as(self) -> Shape:
        """The shape that a session begins with: where nothing else is said, 1 for what is free."""
        if self.initial_shape is not None:
            return self.initial_shape
        return tuple(1 if dim == FREE else dim for dim in self.shape)

    @property
    def is_fixed(self) -> bool:
        """Whether it always has the same number of bytes."""
        return FREE not in self.shape and self.dtype.kind != "O"

    @property
    def row_bytes(self) -> int:
        """Of one session, at its beginning."""
        return math.prod(self.begins_as) * self.dtype.itemsize


class Mark(Enum):
    """What a control input tells the graph of a row."""

    START = "start"
    """This is the first step since the carry began."""
    END = "end"
    """This is the last step."""
    READY = "ready"
    """The row is a real one; always so here."""
    CORRID = "corrid"
    """Whose sequence it is."""


@dataclass(frozen=True)
class ControlSpec:
    """An input that the server fills in, one value a row."""

    name: str
    mark: Mark
    dtype: np.dtype
    no: float = 0
    yes: float = 1


@dataclass(frozen=True)
class ConstantSpec:
    """An input that is the same on every run. `text` is JSON: a number, a text, or lists of them;
    type and shape are the graph's."""

    name: str
    text: str


@dataclass(frozen=True)
class QueueSpec:
    """What `default_queue_policy` says of requests that wait."""

    max_waiting: int = 0
    """0: no limit of the model's own."""
    timeout_s: float = 0.0
    """0: none. A request may bring a shorter one."""


Unsigned = Literal["B", "H", "I", "Q"]
UNSIGNED: dict[int, Unsigned] = {1: "B", 2: "H", 4: "I", 8: "Q"}
"""By bytes, for `memoryview.cast`."""


class Token(NamedTuple):
    """An input that is one integer a step, from 0 up to a bound."""

    high: int
    size_bytes: int
    unsigned: Unsigned
    """Its type, by its bits: what is negative comes out larger than any other number."""


@dataclass(frozen=True)
class ModelSpec:
    """One version of a model. The order of the tuples is the order on the wire."""

    name: str
    version: int
    max_batch: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    carry: tuple[CarrySpec, ...]
    has_time: bool = True
    """Whether the axis behind the rows is time in every input and output of the graph, so that a
    chunk may be cut there."""
    has_rows: bool = True
    """Whether the graph has an axis for rows; otherwise it runs one at a time."""
    is_sequential: bool = True
    """Whether steps belong to sessions; otherwise each request stands alone."""
    controls: tuple[ControlSpec, ...] = ()
    constants: tuple[ConstantSpec, ...] = ()
    idle_timeout_s: float | None = None
    """After which a session ends, where the model says so itself."""
    queue: QueueSpec = QueueSpec()
    """How requests without a session may wait, where the model says so."""

    @cached_property
    def is_shaped(self) -> bool:
        """Whether a message brings its shapes and is one step."""
        tensors: list[TensorSpec | CarrySpec] = [*self.inputs, *self.outputs, *self.carry]
        return not (self.is_sequential and all(tensor.is_fixed for tensor in tensors))

    @cached_property
    def once(self) -> tuple[CarrySpec, ...]:
        """What a session sets once, at its beginning."""
        return tuple(entry for entry in self.carry if not entry.output_name)

    @cached_property
    def carry_bytes(self) -> int:
        """Bytes that one session keeps from step to step; where they vary, at its beginning."""
        return sum(entry.row_bytes for entry in self.carry)

    @cached_property
    def reply_bytes(self) -> int:
        """Bytes that one step of a regular model gives."""
        return sum(tensor.step_bytes for tensor in self.outputs)

    @cached_property
    def step_bytes(self) -> int:
        """Bytes that one step of a regular model takes and gives."""
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
        if tensor.low != 0 or tensor.high is None or sys.byteorder == "big":
            return None
        return Token(tensor.high, tensor.dtype.itemsize, UNSIGNED[tensor.dtype.itemsize])

    @property
    def predicts_tokens(self) -> bool:
        """Whether a token goes in and one score for each token comes out: it can generate."""
        if len(self.inputs) != 1 or len(self.outputs) != 1 or self.is_shaped or self.controls:
            return False
        token, scores = self.inputs[0], self.outputs[0]
        return (
            token.dtype.kind in "iu"
            and token.shape == ()
            and token.low == 0
            and scores.dtype.kind == "f"
            and scores.shape == (token.high,)
        )
