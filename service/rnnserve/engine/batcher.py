"""Which rows run together next. Policy only: it runs nothing, and nothing here waits.

A chunk waits with those whose next block may be as long: the largest power of two of its remaining
steps, at most `max_block_steps`. Rows of one length make a batch, which runs blocks of that length
or, where that would take too long, of a smaller power of two. Generations run with the single
steps. A batch holds one block of a session at the most.

The shortest blocks go first, but a length that has just run lets the longest-waiting other length
go before it. So a session of single steps waits for one block of the others at most, and long
chunks are not starved by a crowd of single steps.
"""

from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

from rnnserve.engine.chunk import Chunk
from rnnserve.engine.costs import Costs
from rnnserve.engine.generation import Generation


@dataclass(frozen=True)
class BatchLimits:
    """How much runs at once."""

    max_rows: int = 64
    max_block_steps: int = 64


class Batch(NamedTuple):
    """Rows to run together, `steps` steps of each: the chunks' first, then the generations'."""

    steps: int
    chunks: list[Chunk]
    generations: list[Generation]

    @property
    def rows(self) -> int:
        return len(self.chunks) + len(self.generations)

    def alone(self) -> "list[Batch]":
        """The same rows, each chunk and each generation by itself."""
        single = [self._replace(chunks=[chunk], generations=[]) for chunk in self.chunks]
        return single + [self._replace(chunks=[], generations=[g]) for g in self.generations]


class Batcher:
    """What may run now, of one model. The one owner of its order."""

    def __init__(self, limits: BatchLimits, costs: Costs) -> None:
        self.limits = limits
        self.costs = costs
        self._ready: dict[int, deque[Chunk]] = {}
        """By the length of the next block; no queue is empty."""
        self._generations: deque[Generation] = deque()
        self._last_steps = 0
        self._turn = 0
        """Whose is the odd row, where both kinds want all of them."""

    def __bool__(self) -> bool:
        """Whether a batch can be taken."""
        return bool(self._ready or self._generations)

    def add(self, chunk: Chunk) -> None:
        """A chunk with steps left may run: the first of its session."""
        steps = chunk.steps - chunk.done
        if steps > 1:
            steps = 1 << (min(steps, self.limits.max_block_steps).bit_length() - 1)
        queue = self._ready.get(steps)
        if queue is None:
            self._ready[steps] = deque((chunk,))
        else:
            queue.append(chunk)

    def add_generation(self, generation: Generation) -> None:
        """A generation has a token to be taken."""
        self._generations.append(generation)

    def remove_generation(self, generation: Generation) -> bool:
        """Take a generation out; False when it isn't here: it runs just now."""
        if generation not in self._generations:
            return False
        self._generations.remove(generation)
        return True

    def remove(self, chunk: Chunk) -> bool:
        """Take a chunk out; False when it isn't here: it runs just now, or isn't its turn."""
        for steps, queue in self._ready.items():
            if chunk in queue:
                queue.remove(chunk)
                if not queue:
                    del self._ready[steps]
                return True
        return False

    def take(self) -> Batch | None:
        """The next batch, or None when nothing waits. What has more to do is added again."""
        length = self._length()
        if length == 0:
            return None
        self._last_steps = length
        most = self.limits.max_rows
        queue = self._ready.get(length, ())
        waiting = len(self._generations) if length == 1 else 0
        # Neither kind keeps the other out.
        if waiting and queue:
            self._turn ^= 1
        generating = min(waiting, max(most - len(queue), (most + self._turn) // 2))
        chunks = self._pop(length, min(len(queue), most - generating)) if queue else []
        generations = [self._generations.popleft() for _ in range(generating)]
        steps = self.costs.block_steps(len(chunks), length) if length > 1 else 1
        return Batch(steps, chunks, generations)

    def waiting(self) -> tuple[list[Chunk], list[Generation]]:
        """All that may run, for audits."""
        chunks = [chunk for queue in self._ready.values() for chunk in queue]
        return chunks, list(self._generations)

    def _length(self) -> int:
        """The block length whose turn it is; 0 when nothing waits."""
        lengths = set(self._ready)
        if self._generations:
            lengths.add(1)
        if not lengths:
            return 0
        length = min(lengths)
        if length == self._last_steps and len(lengths) > 1:
            others = (other for other in lengths if other != length)
            return min(others, key=lambda other: self._ready[other][0].submitted_s)
        return length

    def _pop(self, length: int, count: int) -> list[Chunk]:
        queue = self._ready[length]
        if count == len(queue):
            del self._ready[length]
            return list(queue)
        return [queue.popleft() for _ in range(count)]
