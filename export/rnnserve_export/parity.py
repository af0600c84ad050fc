"""Ways to compute one model, called alike, and how far apart two answers are.

Everywhere a carry is a dict of arrays by the names of the states (`h0`, `c0`, ...), each (B, ...);
inputs and outputs are dicts by name, each (B, T, ...), also where the model takes one step a call:
then T calls are made.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from rnnserve.engine.runner import Runner
from rnnserve.repository.spec import ModelSpec
from rnnserve_export.torch_model import TorchModel

Arrays = dict[str, np.ndarray]
Answer = tuple[Arrays, Arrays]
"""The carry after the last step, and the outputs."""
Compute = Callable[[Arrays, Arrays], Answer]
"""`(carry, inputs) -> (carry, outputs)`."""


def torch_answers(model: TorchModel, *, in_double: bool = False) -> Compute:
    """The module in torch, in eval mode, on the CPU; `model` itself is left alone."""
    twin = model.twin(nn.Module.double if in_double else lambda module: module)

    def tensors(arrays: Arrays) -> dict[str, Tensor]:
        made = {name: torch.from_numpy(array) for name, array in arrays.items()}
        return {
            n: t.double() if in_double and t.is_floating_point() else t for n, t in made.items()
        }

    @torch.no_grad()
    def compute(carry: Arrays, inputs: Arrays) -> Answer:
        after, outputs = twin(tensors(carry), tensors(inputs))
        return _arrays(after), _arrays(outputs)

    return compute if model.has_time else _step_by_step(_without_time(compute))


def graph_answers(spec: ModelSpec, graph: bytes) -> Compute:
    """The graph as the server runs it. Raises ModelProblem when it doesn't fit `spec`."""
    runner = Runner(spec, graph)
    states = [entry.input_name for entry in spec.carry]
    taken = [tensor.name for tensor in spec.inputs]
    given = [tensor.name for tensor in spec.outputs]

    def compute(carry: Arrays, inputs: Arrays) -> Answer:
        after, outputs = runner.run(
            tuple(carry[name] for name in states), tuple(inputs[name] for name in taken)
        )
        return dict(zip(states, after, strict=True)), dict(zip(given, outputs, strict=True))

    return compute if spec.has_time else _step_by_step(compute)


def in_chunks(
    compute: Compute,
    carry: Arrays,
    inputs: Arrays,
    chunks: tuple[int, ...],
    on_chunk: Callable[[int], None] = lambda steps: None,
) -> Answer:
    """Run inputs (B, T, ...) chunk after chunk, each with the carry of the one before.

    `chunks` are lengths that add up to T. `on_chunk` hears the length of each when it is done.
    """
    pieces = []
    for start, end in pairwise(np.cumsum([0, *chunks])):
        cut = {name: np.ascontiguousarray(array[:, start:end]) for name, array in inputs.items()}
        carry, outputs = compute(carry, cut)
        pieces.append(outputs)
        on_chunk(int(end - start))
    joined = {name: np.concatenate([piece[name] for piece in pieces], axis=1) for name in pieces[0]}
    return carry, joined


def row_by_row(compute: Compute) -> Compute:
    """The same with every row alone."""

    def alone(carry: Arrays, inputs: Arrays) -> Answer:
        answers = []
        for row in range(row_count(inputs)):
            only = slice(row, row + 1)
            answers.append(compute(_rows(carry, only), _rows(inputs, only)))
        carries, outputs = zip(*answers, strict=True)
        return _stacked(carries), _stacked(outputs)

    return alone


def row_count(inputs: Arrays) -> int:
    """B of inputs (B, T, ...)."""
    return len(next(iter(inputs.values())))


def step_count(inputs: Arrays) -> int:
    """T of inputs (B, T, ...)."""
    return int(next(iter(inputs.values())).shape[1])


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """A step is too little work for two threads: beside a busy neighbour, waiting for each other
    took torch fifty times as long as the work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True)
class Difference:
    """The largest distance between two answers, over outputs and carry."""

    absolute: float
    relative: float
    """Divided by the expected value where that is larger than one."""

    def __or__(self, other: "Difference") -> "Difference":
        """The larger of both."""
        return Difference(max(self.absolute, other.absolute), max(self.relative, other.relative))


def difference(found: Answer, expected: Answer) -> Difference:
    """How far `found` is from `expected`; infinite where either isn't finite, where shapes differ,
    and where a whole number or a bool is another."""
    largest = Difference(0.0, 0.0)
    for one, other in zip(found, expected, strict=True):
        for name, array in other.items():
            largest |= _distance(one[name], array)
    return largest


def rounding(single: Answer, double: Answer) -> Difference:
    """How far floating-point numbers are from what they are in float64."""
    floats = [{n: a for n, a in group.items() if a.dtype.kind == "f"} for group in double]
    return difference(single, (floats[0], floats[1]))


def _distance(found: np.ndarray, expected: np.ndarray) -> Difference:
    if "f" not in (found.dtype.kind, expected.dtype.kind):
        off = 0.0 if np.array_equal(found, expected) else np.inf
        return Difference(off, off)
    if found.shape != expected.shape or found.dtype.kind != expected.dtype.kind:
        return Difference(np.inf, np.inf)
    if not (np.isfinite(found).all() and np.isfinite(expected).all()):
        return Difference(np.inf, np.inf)
    error = np.abs(found.astype(np.float64) - expected)
    relative = error / np.maximum(1.0, np.abs(expected))
    return Difference(float(error.max()), float(relative.max()))


def _without_time(compute: Compute) -> Compute:
    """What takes (B, ...) as if it took single steps (B, 1, ...)."""

    def one_step(carry: Arrays, inputs: Arrays) -> Answer:
        after, outputs = compute(carry, {name: array[:, 0] for name, array in inputs.items()})
        return after, {name: array[:, None] for name, array in outputs.items()}

    return one_step


def _step_by_step(compute: Compute) -> Compute:
    def single(carry: Arrays, inputs: Arrays) -> Answer:
        return in_chunks(compute, carry, inputs, (1,) * step_count(inputs))

    return single


def _rows(arrays: Arrays, rows: slice) -> Arrays:
    return {name: array[rows] for name, array in arrays.items()}


def _arrays(tensors: dict[str, Tensor]) -> Arrays:
    return {name: tensor.numpy() for name, tensor in tensors.items()}


def _stacked(rows: tuple[Arrays, ...]) -> Arrays:
    return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
