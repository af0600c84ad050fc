"""Which rows run together next. Policy only: it runs nothing, and nothing here waits.

A chunk is cut into blocks, each the largest power of two of its remaining steps, at most
`max_block_steps`; rows with blocks of equal length make a batch. A batch holds one block of a
session at the most, and a session's chunks run in the order they came.

The shortest blocks go first, but a length that has just run lets the longest-waiting other length
go before it. So a session of single steps waits for one block of the others at most, and long
chunks are not starved by a crowd of single steps.
"""

from collections import OrderedDict, deque
from dataclasses import dataclass

from rnnserve.engine.chunk import Chunk
from rnnserve.errors import Reason, Refusal


@dataclass(frozen=True)
class BatchLimits:
    """How much runs at once, and how much may wait."""

    max_rows: int = 64
    max_block_steps: int = 64
    max_waiting_steps: int = 1_000_000


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows to run together, `steps` steps of each."""

    rows: tuple[Chunk, ...]
    steps: int


class Batcher:
    """The waiting chunks of one model. The one owner of their order."""

    def __init__(self, limits: BatchLimits) -> None:
        self.limits = limits
        self.waiting_steps = 0
        self._ready: OrderedDict[int, deque[Chunk]] = OrderedDict()
        """Chunks that may run now, by the length of their next block."""
        self._behind: dict[str, deque[Chunk]] = {}
        """Chunks that wait for an earlier one of their session; the key is there while one runs."""
        self._last_steps = 0

    def __bool__(self) -> bool:
        """Whether a batch can be taken."""
        return bool(self._ready)

    def submit(self, chunk: Chunk) -> None:
        """Queue a chunk. Raises Refusal (overloaded) at once when too much waits already."""
        if self.waiting_steps + chunk.steps > self.limits.max_waiting_steps:
            raise Refusal(
                Reason.OVERLOADED,
                f"{self.waiting_steps} steps wait already; at most {self.limits.max_waiting_steps}",
                retry_after_s=1.0,
                limit=self.limits.max_waiting_steps,
            )
        self.waiting_steps += chunk.steps
        behind = self._behind.get(chunk.session_id)
        if behind is None:
            self._behind[chunk.session_id] = deque()
            self._enqueue(chunk)
        else:
            behind.append(chunk)

    def take(self) -> Batch | None:
        """The next batch, or None when nothing waits. Its chunks come back by `put_back` or
        `finish`, one of the two for each row."""
        if not self._ready:
            return None
        steps = min(self._ready)
        if steps == self._last_steps and len(self._ready) > 1:
            others = (length for length in self._ready if length != steps)
            steps = min(others, key=lambda length: self._ready[length][0].submitted_s)
        queue = self._ready[steps]
        rows = tuple(queue.popleft() for _ in range(min(len(queue), self.limits.max_rows)))
        if not queue:
            del self._ready[steps]
        self._last_steps = steps
        return Batch(rows, steps)

    def put_back(self, chunk: Chunk, steps: int) -> None:
        """A block of `steps` of the chunk is done, and more of it is left."""
        self.waiting_steps -= steps
        self._enqueue(chunk)

    def finish(self, chunk: Chunk, steps: int) -> None:
        """The chunk leaves, `steps` of it still counted as waiting; its session's next is ready."""
        self.waiting_steps -= steps
        behind = self._behind[chunk.session_id]
        if behind:
            self._enqueue(behind.popleft())
        else:
            del self._behind[chunk.session_id]

    def drop_behind(self, session_id: str) -> None:
        """Forget the chunks that wait for an earlier one of this session."""
        behind = self._behind.get(session_id, deque())
        self.waiting_steps -= sum(chunk.steps for chunk in behind)
        behind.clear()

    def _enqueue(self, chunk: Chunk) -> None:
        steps = block_steps(chunk.remaining, self.limits.max_block_steps)
        self._ready.setdefault(steps, deque()).append(chunk)


def block_steps(remaining: int, at_most: int) -> int:
    """The largest power of two of steps that is in `remaining` and not over `at_most`."""
    return 1 << (min(remaining, at_most).bit_length() - 1)
