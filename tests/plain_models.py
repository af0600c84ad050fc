"""Models as functions of arrays, whose answers can be worked out by hand: no graph, no runner."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from rnnserve.engine.slots import Rows
from rnnserve.repository.spec import (
    FREE,
    CarrySpec,
    ControlSpec,
    Mark,
    ModelSpec,
    TensorSpec,
)

FP32 = np.dtype(np.float32)
POISON = -13.0
"""A run in which a row begins with it fails as a whole."""


@dataclass
class PlainModel:
    """A spec, and what runs; `batches` are the rows of every run so far."""

    spec: ModelSpec
    function: Callable[[Rows, Rows], tuple[Rows, Rows]]
    batches: list[int] = field(default_factory=list)

    def runner(self) -> "PlainModel":
        return self

    def run(self, carry: Rows, inputs: Rows) -> tuple[Rows, Rows]:
        rows = len(inputs[0])
        self.batches.append(rows)
        if (inputs[0].reshape(rows, -1)[:, :1] == POISON).any():
            raise ValueError("poison")
        return self.function(carry, inputs)


def memory_model() -> PlainModel:
    """Remembers all it was ever given: the carry (K,) grows by each message's x (L,); y is the sum
    of all."""

    def function(carry: Rows, inputs: Rows) -> tuple[Rows, Rows]:
        grown = np.concatenate([carry[0], inputs[0][:, 0]], axis=1)  # (B, K + L)
        return (grown,), (grown.sum(axis=1, dtype=np.float32)[:, None, None],)

    spec = ModelSpec(
        *("memory", 1, 8),
        inputs=(TensorSpec("x", FP32, (FREE,)),),
        outputs=(TensorSpec("y", FP32, (1,)),),
        carry=(CarrySpec("all", "all_next", FP32, (FREE,)),),
        has_time=False,
    )
    return PlainModel(spec, function)


def doubling_model(**more) -> PlainModel:
    """Requests stand alone: y is twice x, of any length."""

    def function(carry: Rows, inputs: Rows) -> tuple[Rows, Rows]:
        return (), (inputs[0] * 2,)

    spec = ModelSpec(
        *("double", 1, 8),
        inputs=(TensorSpec("x", FP32, (FREE,)),),
        outputs=(TensorSpec("y", FP32, (FREE,)),),
        carry=(),
        has_time=False,
        is_sequential=False,
        **more,
    )
    return PlainModel(spec, function)


def marked_model(corrid: str = "<u8") -> PlainModel:
    """Adds x (1,) to its sum, which begins anew where START says so; y is the sum, and what the
    marks were: START, END, READY and the number of the sequence."""

    def function(carry: Rows, inputs: Rows) -> tuple[Rows, Rows]:
        x, start, end, ready, number = inputs
        total = np.where(start[:, None] > 0, 0, carry[0]) + x[:, 0]
        marks = np.stack([start, end, ready], axis=1).astype(np.float32)  # (B, 3)
        return (total,), (total[:, None], marks[:, None], number[:, None, None])

    controls = (
        ControlSpec("START", Mark.START, FP32, 0, 1),
        ControlSpec("END", Mark.END, np.dtype(np.bool_), 0, 1),
        ControlSpec("READY", Mark.READY, np.dtype(np.int32), -1, 1),
        ControlSpec("ID", Mark.CORRID, np.dtype(corrid)),
    )
    spec = ModelSpec(
        *("marked", 1, 8),
        inputs=(TensorSpec("x", FP32, (1,)),),
        outputs=(
            TensorSpec("y", FP32, (1,)),
            TensorSpec("marks", FP32, (3,)),
            TensorSpec("id", np.dtype(corrid), (1,)),
        ),
        carry=(CarrySpec("sum", "sum_next", FP32, (1,)),),
        has_time=False,
        controls=controls,
    )
    return PlainModel(spec, function)
