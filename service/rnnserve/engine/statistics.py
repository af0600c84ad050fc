"""What one model version has done since it was loaded, in sums."""

from collections.abc import Sequence
from dataclasses import dataclass, field

MOST_SIZES = 256
"""Of batches, that are told apart."""


@dataclass(slots=True)
class Statistics:
    """Counted once a batch; the model is its one owner. Times are in seconds."""

    answered_chunks: int = 0
    answered_rows: int = 0
    """A request that stands alone may have several."""
    failed_chunks: int = 0
    queue_s: float = 0.0
    """From their arrival to their first block, of all answered chunks."""
    whole_s: float = 0.0
    """From their arrival to their answer."""
    runs: int = 0
    last_rows: int = 0
    """Of the last run."""
    run_s: float = 0.0
    last_s: float | None = None
    """When the last batch was answered, on the engine's clock."""
    by_rows: dict[int, tuple[int, float]] = field(default_factory=dict)
    """Runs and their seconds, by how many rows ran together."""

    def answered(
        self, rows: int, queue_s: Sequence[float], whole_s: Sequence[float], now_s: float
    ) -> None:
        """Chunks of so many rows in all were committed: each waited, and took in all, this long."""
        self.answered_chunks += len(whole_s)
        self.answered_rows += rows
        self.last_s = now_s
        self.queue_s += sum(queue_s)
        self.whole_s += sum(whole_s)

    def failed(self) -> None:
        """A chunk that was taken in has no answer."""
        self.failed_chunks += 1

    def ran(self, rows: int, run_s: float) -> None:
        """A batch went through the runner."""
        self.runs += 1
        self.last_rows = rows
        self.run_s += run_s
        if len(self.by_rows) >= MOST_SIZES and rows not in self.by_rows:
            # Clients choose how many rows a request has.
            return
        count, seconds = self.by_rows.get(rows, (0, 0.0))
        self.by_rows[rows] = count + 1, seconds + run_s
