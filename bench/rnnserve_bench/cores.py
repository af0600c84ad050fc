"""Which core belongs to whom, and how long a process has been running on it."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rnnserve_bench.errors import BenchProblem


@dataclass(frozen=True)
class Cores:
    """The contestants' core and the load generator's."""

    server: int
    client: int


def choose_cores() -> Cores:
    """The last core we may use for the contestants, the first for the load.

    Raises BenchProblem where there is one core only: load and server would then share it.
    """
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        raise BenchProblem("two cores are needed, one for the server and one for the load")
    return Cores(server=allowed[-1], client=allowed[0])


@contextmanager
def pinned(core: int) -> Iterator[None]:
    """Processes started inside inherit the core; this thread gets its own cores back after."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def process_cpu_s(pid: int) -> float:
    """Seconds that all threads of a process have run, user and system.

    The kernel makes a clock out of any pid; /proc/PID/stat has ticks of 10 ms only. Raises OSError
    when there is no such process.
    """
    return time.clock_gettime((~pid << 3) | 2)


def tree_cpu_s(pids: tuple[int, ...]) -> float:
    """The same for several processes that make up one server."""
    return sum(process_cpu_s(pid) for pid in pids)


def resident_bytes(pid: int) -> int:
    """Memory of a process that is in RAM now."""
    with open(f"/proc/{pid}/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
