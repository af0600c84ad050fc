"""Models whose messages bring their shapes: what may share a batch, and what its runs take.

A message is one step and is never cut. Requests run together whose inputs, and whose carries, have
equal shapes; nothing is padded, since that would change answers.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from math import inf

from rnnserve.engine.batcher import Batch, BatchLimits
from rnnserve.engine.chunk import Chunk
from rnnserve.engine.generation import Generation

REMEMBERED_RUNS = 512


class ShapedBatch(Batch):
    """Chunks of equal shapes; one without a session may have several rows."""

    @property
    def rows(self) -> int:
        return sum([chunk.rows for chunk in self.chunks])


class ShapedBatcher:
    """What may run now, of one model. The one owner of its order: shapes take turns, and of equal
    shapes the first comes first."""

    def __init__(self, limits: BatchLimits, alike: Callable[[Chunk], Hashable]) -> None:
        """`alike`: what has to be equal for two chunks to run together; asked when a chunk's turn
        in its session has come."""
        self.limits = limits
        self._alike = alike
        self._ready: OrderedDict[Hashable, deque[Chunk]] = OrderedDict()
        """No queue is empty; the first key is next."""

    def __bool__(self) -> bool:
        """Whether a batch can be taken."""
        return bool(self._ready)

    def add(self, chunk: Chunk) -> None:
        """A chunk may run: the first of its session."""
        self._ready.setdefault(self._alike(chunk), deque()).append(chunk)

    def add_generation(self, generation: Generation) -> None:
        raise AssertionError("a model that generates is regular")

    def remove_generation(self, generation: Generation) -> bool:
        return False

    def remove(self, chunk: Chunk) -> bool:
        """Take a chunk out; False when it isn't here: it runs just now, or isn't its turn."""
        for key, queue in self._ready.items():
            if chunk in queue:
                queue.remove(chunk)
                if not queue:
                    del self._ready[key]
                return True
        return False

    def take(self) -> Batch | None:
        """The next batch, or None when nothing waits."""
        if not self._ready:
            return None
        key, queue = next(iter(self._ready.items()))
        chunks = [queue.popleft()]
        rows = chunks[0].rows
        # A request of more rows than that was let in whole, and runs alone.
        while queue and rows + queue[0].rows <= self.limits.max_rows:
            rows += queue[0].rows
            chunks.append(queue.popleft())
        if queue:
            self._ready.move_to_end(key)
        else:
            del self._ready[key]
        return ShapedBatch(1, chunks, [])

    def waiting(self) -> tuple[list[Chunk], list[Generation]]:
        """All that may run, for audits."""
        return [chunk for queue in self._ready.values() for chunk in queue], []


class Pace:
    """What runs took, by what was alike in them. What has not run yet is expected to take for ever:
    it leaves the loop."""

    def __init__(self) -> None:
        self._runs: OrderedDict[Hashable, float] = OrderedDict()

    def expected_s(self, key: Hashable) -> float:
        """Seconds of the last such run; infinite where there was none lately."""
        return self._runs.get(key, inf)

    def took(self, key: Hashable, run_s: float) -> None:
        """Such a run took so long."""
        self._runs[key] = run_s
        self._runs.move_to_end(key)
        if len(self._runs) > REMEMBERED_RUNS:
            self._runs.popitem(last=False)
