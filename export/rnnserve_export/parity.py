"""Three ways to compute one model, called alike, and how far apart two answers are.

Everywhere a carry is a dict of arrays by the model's own names (`h0`, `c0`, ...), each (B, ...),
tokens are (B, T) int64 and logits (B, T, V). The third way, plain NumPy, is
`rnnserve_models.reference.language_model.ReferenceLanguageModel`.
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch

from rnnserve.engine.runner import Runner
from rnnserve.repository.spec import ModelSpec
from rnnserve_models.language_model import LanguageModel

Arrays = dict[str, np.ndarray]
Answer = tuple[Arrays, np.ndarray]
Compute = Callable[[Arrays, np.ndarray], Answer]


def torch_answers(model: LanguageModel, dtype: torch.dtype = torch.float32) -> Compute:
    """The trained model in torch, in eval mode, on the CPU; `model` itself is left alone."""
    twin = copy.deepcopy(model).to("cpu", dtype).eval()

    @torch.inference_mode()
    def compute(carry: Arrays, tokens: np.ndarray) -> Answer:
        before = {name: torch.from_numpy(array).to(dtype) for name, array in carry.items()}
        after, logits = twin(before, torch.from_numpy(tokens))
        return {name: array.numpy() for name, array in after.items()}, logits.numpy()

    return compute


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


def graph_answers(spec: ModelSpec, graph: bytes) -> Compute:
    """The graph as the server runs it. Raises ModelProblem when it doesn't fit `spec`."""
    runner = Runner(spec, graph)
    names = [entry.input_name for entry in spec.carry]

    def compute(carry: Arrays, tokens: np.ndarray) -> Answer:
        after, (logits,) = runner.run(tuple(carry[name] for name in names), (tokens,))
        return dict(zip(names, after, strict=True)), logits

    return compute


def in_chunks(
    compute: Compute,
    carry: Arrays,
    tokens: np.ndarray,
    chunks: tuple[int, ...],
    on_chunk: Callable[[int], None] = lambda steps: None,
) -> Answer:
    """Run tokens (B, T) chunk after chunk, each with the carry of the one before.

    `chunks` are lengths that add up to T. `on_chunk` hears the length of each when it is done.
    """
    ends = np.cumsum([0, *chunks])
    pieces = []
    for start, end in pairwise(ends):
        carry, logits = compute(carry, np.ascontiguousarray(tokens[:, start:end]))
        pieces.append(logits)
        on_chunk(int(end - start))
    return carry, np.concatenate(pieces, axis=1)


@dataclass(frozen=True)
class Difference:
    """The largest distance between two answers, over logits and carry."""

    absolute: float
    relative: float
    """Divided by the expected value where that is larger than one."""

    def __or__(self, other: "Difference") -> "Difference":
        """The larger of both."""
        return Difference(max(self.absolute, other.absolute), max(self.relative, other.relative))


def difference(found: Answer, expected: Answer) -> Difference:
    """How far `found` is from `expected`; infinite where either isn't finite or shapes differ."""
    pairs = [(found[1], expected[1])]
    pairs += [(found[0][name], array) for name, array in expected[0].items()]
    largest = Difference(0.0, 0.0)
    for one, other in pairs:
        largest |= _distance(one, other)
    return largest


def _distance(found: np.ndarray, expected: np.ndarray) -> Difference:
    if found.shape != expected.shape or not np.isfinite(found).all():
        return Difference(np.inf, np.inf)
    if not np.isfinite(expected).all():
        return Difference(np.inf, np.inf)
    error = np.abs(found.astype(np.float64) - expected)
    relative = error / np.maximum(1.0, np.abs(expected))
    return Difference(float(error.max()), float(relative.max()))
