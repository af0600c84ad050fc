"""What a graph is asked before it is published: the inputs of every check."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from rnnserve_export.feed import Feed, Reached, zero_carry
from rnnserve_export.parity import Arrays, row_count, step_count

BATCHES = (1, 2, 7)
LENGTHS = (1, 2, 33)
LARGEST_BATCH = 256
EXAMPLE_STEPS = 240
CHAIN_STEPS = 2000
CHUNK_LENGTHS = (1, 1, 2, 3, 7, 16, 33, 64)
COMPANIES = (2, 5)
COMPANY_STEPS = 12


@dataclass(frozen=True)
class Case:
    """One question: a carry, inputs (B, T, ...), and the lengths in which the graph gets them."""

    carry: Arrays
    inputs: Arrays
    chunks: tuple[int, ...]
    is_company: bool = False
    """Whether torch is asked for every row alone."""

    @property
    def steps(self) -> int:
        return step_count(self.inputs)

    def __str__(self) -> str:
        return f"{row_count(self.inputs)} rows, {self.steps} steps, {len(self.chunks)} chunks"


def cases(feed: Feed, reached: Reached, seed: int = 0) -> dict[str, list[Case]]:
    """Every check's name and its cases, the same for the same seed."""
    rng = np.random.default_rng(seed)
    spec = feed.spec
    sizes = [(B, T) for B in BATCHES for T in LENGTHS]
    sizes.append((min(spec.max_batch, LARGEST_BATCH), 1))
    example, chain = feed.as_met(1, EXAMPLE_STEPS), feed.as_met(1, CHAIN_STEPS)
    return {
        "zero carry": [Case(zero_carry(spec, B), feed.draw(B, T, rng), (T,)) for B, T in sizes],
        "random carry": [Case(reached.draw(B, rng), feed.draw(B, T, rng), (T,)) for B, T in sizes],
        "any company": [
            Case(reached.draw(B, rng), feed.draw(B, COMPANY_STEPS, rng), (5, 7), is_company=True)
            for B in COMPANIES
        ],
        "the example, any chunks": [
            Case(zero_carry(spec, 1), example, chunks) for chunks in _chunkings(EXAMPLE_STEPS, rng)
        ],
        f"chain of {CHAIN_STEPS} single steps": [
            Case(zero_carry(spec, 1), chain, (1,) * CHAIN_STEPS)
        ],
        f"chain of {CHAIN_STEPS} steps, mixed chunks": [
            Case(reached.draw(2, rng), feed.draw(2, CHAIN_STEPS, rng), _mixed(CHAIN_STEPS, rng))
        ],
    }


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
