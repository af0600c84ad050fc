"""What a graph is asked before it is published: the inputs of every check."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from rnnserve.repository.spec import ModelSpec
from rnnserve_export.parity import Arrays

BATCHES = (1, 2, 7)
LENGTHS = (1, 2, 33)
LARGEST_BATCH = 256
TEXT_STEPS = 240
CHAIN_STEPS = 2000
CHUNK_LENGTHS = (1, 1, 2, 3, 7, 16, 33, 64)


@dataclass(frozen=True)
class Case:
    """One question: a carry, tokens (B, T), and the lengths in which the graph gets them."""

    carry: Arrays
    tokens: np.ndarray
    chunks: tuple[int, ...]

    @property
    def steps(self) -> int:
        return int(self.tokens.shape[1])

    def __str__(self) -> str:
        return f"{len(self.tokens)} rows, {self.steps} steps, {len(self.chunks)} chunks"


def cases(spec: ModelSpec, text: np.ndarray, seed: int = 0) -> dict[str, list[Case]]:
    """Every check's name and its cases, the same for the same seed.

    `text` (K,) are tokens as the model will meet them; it is repeated where it is too short.
    """
    rng = np.random.default_rng(seed)
    V = spec.inputs[0].high

    def tokens(B: int, T: int) -> np.ndarray:
        return rng.integers(0, V, (B, T), dtype=np.int64)

    sizes = [(B, T) for B in BATCHES for T in LENGTHS]
    sizes.append((min(spec.max_batch, LARGEST_BATCH), 1))
    words = np.resize(text.astype(np.int64), (1, CHAIN_STEPS))
    return {
        "zero carry": [Case(zero_carry(spec, B), tokens(B, T), (T,)) for B, T in sizes],
        "random carry": [Case(random_carry(spec, B, rng), tokens(B, T), (T,)) for B, T in sizes],
        "one text, any chunks": [
            Case(zero_carry(spec, 1), words[:, :TEXT_STEPS], chunks)
            for chunks in _chunkings(TEXT_STEPS, rng)
        ],
        f"chain of {CHAIN_STEPS} single steps": [
            Case(zero_carry(spec, 1), words, (1,) * CHAIN_STEPS)
        ],
        f"chain of {CHAIN_STEPS} steps, mixed chunks": [
            Case(random_carry(spec, 2, rng), tokens(2, CHAIN_STEPS), _mixed(CHAIN_STEPS, rng))
        ],
    }


def zero_carry(spec: ModelSpec, B: int) -> Arrays:
    """The carry before the first step."""
    return {e.input_name: np.zeros((B, *e.shape), e.dtype) for e in spec.carry}


def random_carry(spec: ModelSpec, B: int, rng: np.random.Generator) -> Arrays:
    """A carry within the range of tanh, where h lives and c mostly is."""
    return {e.input_name: rng.uniform(-1, 1, (B, *e.shape)).astype(e.dtype) for e in spec.carry}


def _chunkings(T: int, rng: np.random.Generator) -> Iterator[tuple[int, ...]]:
    whole, single = (T,), (1,) * T
    first_alone, halves = (1, T - 1), (T // 2, T - T // 2)
    yield from (whole, single, first_alone, halves)
    yield from (_mixed(T, rng) for _ in range(4))


def _mixed(T: int, rng: np.random.Generator) -> tuple[int, ...]:
    lengths: list[int] = []
    while (left := T - sum(lengths)) > 0:
        lengths.append(min(left, int(rng.choice(CHUNK_LENGTHS))))
    return tuple(lengths)
