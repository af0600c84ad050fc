"""Sequence models with what they answer, worked out in plain NumPy, a step at a time."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import tiny_folders as folders
import tiny_models as tiny
from rnnserve.engine.runner import Runner
from rnnserve.engine.slots import Rows
from rnnserve.repository.spec import FREE

POISON = 100
"""A step that has it fails, and so does every run that has one: of `fragile` by itself, of the
others by a guard."""


@dataclass(frozen=True)
class Told:
    """What is said of a step beside its input."""

    start: bool
    """It is the first since the carry began."""
    end: bool
    number: int | str | None
    """What its client calls the sequence; None: a session of the native API."""


@dataclass(frozen=True, eq=False)
class Known:
    """A model; `step` takes the carry, x (...) and what is told, and gives the carry and y's."""

    model: tiny.TinyModel
    runner: Runner
    begin: Callable[[int], Any]
    """The carry at the beginning, as the NumPy side has it; told what the session sets once."""
    step: Callable[[Any, np.ndarray, Told], tuple[Any, tuple[np.ndarray, ...]]]

    @property
    def spec(self):
        return self.model.spec

    @property
    def can_fail(self) -> bool:
        return self.spec.inputs[0].dtype.kind != "b"

    def carry(self, factor: int) -> Rows | None:
        """What a session is given to begin with; None: nothing."""
        if not self.spec.once:
            return None
        return np.zeros((1,), np.float32), np.full((1,), factor, np.float32)

    def x(self, values: list[int]) -> np.ndarray:
        """A step's input of these values; as many as it wants, or all where that is free."""
        tensor = self.spec.inputs[0]
        if FREE in tensor.shape:
            return np.array(values, tensor.dtype)
        return np.resize(np.array(values or [0], tensor.dtype), tensor.shape)

    def fails_on(self, x: np.ndarray) -> bool:
        return self.can_fail and bool((x == POISON).any())

    def run(self, carry: Rows, inputs: Rows) -> tuple[Rows, Rows]:
        """The runner, which fails as a whole where a row does."""
        if self.model.name != "fragile" and self.fails_on(inputs[0]):
            raise RuntimeError("a poisoned row")
        return self.runner.run(carry, inputs)


def all_known() -> list[Known]:
    """Every sequence model of the tiny ones."""
    return [
        *map(_summing, _plain_sums()),
        _known(tiny.accumulator(begins_with=40, name="from_40"), lambda _: np.float32(40), _sum),
        _known(tiny.accumulator("BOOL"), lambda _: np.False_, _either),
        _known(tiny.remembering(), lambda _: np.zeros(1, np.float32), _remember),
        _known(tiny.marked(), lambda _: np.float32(0), _marked),
        _known(tiny.marked("BYTES", name="marked_by_name"), lambda _: np.float32(0), _marked),
        _known(tiny.counting(), lambda _: (np.int64(0), np.int64(0)), _count),
        _known(tiny.scaled(), lambda factor: (np.float32(0), np.float32(factor)), _scale),
    ]


def _plain_sums() -> list[tiny.TinyModel]:
    sums = [tiny.accumulator(of) for of in ("FP32", "FP16", "INT64", "INT32")]
    others = {"stacked", "only_one", "encoder", "tuned", "fed_back"}
    spelled = [model for model in folders.spelled() if model.name in others]
    return [*sums, tiny.unbatched(), tiny.reshaped(), tiny.timed(), tiny.fragile(), *spelled]


def _known(model: tiny.TinyModel, begin, step) -> Known:
    return Known(model, model.runner(), begin, step)


def _summing(model: tiny.TinyModel) -> Known:
    dtype = model.spec.inputs[0].dtype
    return _known(model, lambda _: dtype.type(0), _sum)


def _sum(total, x: np.ndarray, told: Told):
    total = total + x
    return total, (total,)


def _either(before, x: np.ndarray, told: Told):
    now = before | x
    return now, (now,)


def _remember(kept: np.ndarray, x: np.ndarray, told: Told):
    kept = np.concatenate([kept, x])
    return kept, (kept.sum(dtype=np.float32)[None],)


def _marked(total, x: np.ndarray, told: Told):
    total = x if told.start else total + x
    marks = np.float32(1 if told.start else -1), np.bool_(told.end), np.int32(1)
    return total, (total, *(mark[None] for mark in marks), np.array([told.number], object))


def _count(before, x: np.ndarray, told: Told):
    total, count = before[0] + x, before[1] + 1
    return (total, count), (total, np.array([count]))


def _scale(before, x: np.ndarray, told: Told):
    total = before[0] + before[1] * x
    return (total, before[1]), (total,)
