"""How long each thread of a process has run."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ThreadClock:
    """One thread as the kernel knows it; `cpu_us` since it began."""

    name: str
    cpu_us: float


def thread_clocks(pid: int) -> dict[int, ThreadClock]:
    """The threads there are now, by id."""
    found = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            ran_ns = int((task / "schedstat").read_text().split()[0])
            name = (task / "comm").read_text().strip()
        except OSError:  # it has ended since
            continue
        found[int(task.name)] = ThreadClock(name, ran_ns / 1e3)
    return found


def thread_us(before: dict[int, ThreadClock], after: dict[int, ThreadClock]) -> dict[int, float]:
    """What each thread ran in between (us)."""
    return {
        thread: clock.cpu_us - (before[thread].cpu_us if thread in before else 0.0)
        for thread, clock in after.items()
    }
