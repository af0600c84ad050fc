"""What one model version has done since it was loaded, in sums."""

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class Statistics:
    """Counted once a batch; the model is its one owner. Times are in seconds."""

    answered_chunks: int = 0
    failed_chunks: int = 0
    queue_s: float = 0.0
    """From their arrival to their first block, of all answered chunks."""
    whole_s: float = 0.0
    """From their arrival to their answer."""
    runs: int = 0
    row_steps: int = 0
    """Rows times steps of all runs."""
    run_s: float = 0.0
    by_rows: dict[int, tuple[int, float]] = field(default_factory=dict)
    """Runs and their seconds, by how many rows ran together."""

    def answered(self, queue_s: Sequence[float], whole_s: Sequence[float]) -> None:
        """Chunks were committed: each waited, and took in all, this long."""
        self.answered_chunks += len(whole_s)
        self.queue_s += sum(queue_s)
        self.whole_s += sum(whole_s)

    def failed(self) -> None:
        """A chunk that was taken in has no answer."""
        self.failed_chunks += 1

    def ran(self, rows: int, steps: int, run_s: float) -> None:
        """A batch went through the runner."""
        self.runs += 1
        self.row_steps += rows * steps
        self.run_s += run_s
        count, seconds = self.by_rows.get(rows, (0, 0.0))
        self.by_rows[rows] = count + 1, seconds + run_s
