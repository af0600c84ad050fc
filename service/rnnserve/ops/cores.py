"""How many cores this process may use: its affinity's, as far as its CPU quota pays for them.

`os.cpu_count` counts the machine's. A container with a limit of 2 CPUs on a node of 64 would start
threads for 64, spend its quota in a fraction of every period and stand still for the rest of it.

Sources: the kernel's cgroup-v2 document for `cpu.max`, cgroups(7) for `/proc/self/cgroup`. Quotas
of cgroup v1, which Kubernetes has given up, are not read: `--run-threads` says it there.
"""

import math
import os
from collections.abc import Iterator
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUP = Path("/proc/self/cgroup")
UNIFIED = "0::"
"""How the line of cgroup v2 begins, in the file that names a process's cgroups."""


def usable_cores(own: Path = OWN_CGROUP, cgroups: Path = CGROUPS) -> int:
    """Cores, at least 1; a quota of 1.5 counts as 2. What can't be read sets no limit."""
    limits = [math.ceil(quota) for quota in _quotas(own, cgroups)]
    return max(1, min([len(os.sched_getaffinity(0)), *limits]))


def _quotas(own: Path, cgroups: Path) -> Iterator[float]:
    """What each cgroup grants, in cores, from the process's own to the root: all of them bind."""
    place = cgroups / _unified(own)
    for folder in (place, *place.parents):
        quota = _quota(folder / "cpu.max")
        if quota is not None:
            yield quota
        if folder == cgroups:
            return


def _unified(own: Path) -> str:
    """The process's cgroup below the root, where it is a cgroup v2 and visible from here."""
    try:
        lines = own.read_text().splitlines()
    except (OSError, ValueError):
        return ""
    path = next((line.removeprefix(UNIFIED) for line in lines if line.startswith(UNIFIED)), "")
    # A process that was moved out of its cgroup namespace sees its place as /../somewhere.
    return "" if ".." in path else path.lstrip("/")


def _quota(file: Path) -> float | None:
    """`MICROSECONDS PERIOD` as cores; None for `max`, which is no limit, and for no such file."""
    try:
        granted, period = file.read_text().split()
        return None if granted == "max" else int(granted) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None
