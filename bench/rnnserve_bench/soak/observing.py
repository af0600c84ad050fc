"""What a server process looks like from outside, at one moment."""

import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rnnserve.client import Client
from rnnserve_bench.cores import process_cpu_s, resident_bytes
from rnnserve_bench.process import RnnServer
from rnnserve_bench.soak.drift import Allowance, Drift, judge

MIB = 1 << 20
MB = 1e6


@dataclass(frozen=True)
class Look:
    """One sample; `time_s` counts from the first."""

    time_s: float
    memory_mb: float
    threads: float
    files: float
    """Descriptors, sockets among them."""
    tasks: float
    """Of the server's loop."""
    sessions: float
    loop_lag_ms: float
    """Mean since the sample before."""
    cpu: float
    """Share of a core since the sample before."""
    probe_p50_ms: float
    probe_p99_ms: float

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


SERIES: tuple[tuple[str, str, Allowance], ...] = (
    ("memory_mb", "MB", Allowance(10.0)),
    ("threads", "threads", Allowance(2.0)),
    ("files", "files", Allowance(12.0)),
    ("tasks", "tasks", Allowance(24.0, 0.25)),
    ("sessions", "sessions", Allowance(16.0, 0.25)),
    ("loop_lag_ms", "ms", Allowance(5.0, 1.0)),
    ("probe_p50_ms", "ms", Allowance(5.0, 0.5)),
    ("probe_p99_ms", "ms", Allowance(30.0, 1.0)),
)
"""What is judged, and how much of it is noise. Memory: an hour may add 10 MB."""


class Observer:
    """Looks at a server again and again."""

    def __init__(self, server: RnnServer, client: Client) -> None:
        self._server, self._client = server, client
        self._began_s = self._last_s = time.monotonic()
        self._cpu_s = process_cpu_s(server.pid)
        self._lag = (0.0, 0.0)
        self.problems: list[str] = []
        """What the server's audits found."""

    def look(self, probe_ms: tuple[float, float]) -> Look:
        """One sample; `probe_ms` are p50 and p99 of the probe since the last one."""
        pid, now_s = self._server.pid, time.monotonic()
        audit = self._client.audit()
        self.problems += audit.problems
        metrics = self._server.metrics()
        lag = (
            metrics.get("rnnserve_loop_lag_seconds_sum", 0.0),
            metrics.get("rnnserve_loop_lag_seconds_count", 0.0),
        )
        count = lag[1] - self._lag[1]
        mean_s = (lag[0] - self._lag[0]) / count if count else float("nan")
        cpu_s = process_cpu_s(pid)
        cpu = (cpu_s - self._cpu_s) / max(now_s - self._last_s, 1e-9)
        self._lag, self._cpu_s, self._last_s = lag, cpu_s, now_s
        return Look(
            time_s=now_s - self._began_s,
            memory_mb=resident_bytes(pid) / MB,
            threads=len(os.listdir(f"/proc/{pid}/task")),
            files=len(os.listdir(Path(f"/proc/{pid}/fd"))),
            tasks=audit.tasks,
            sessions=audit.sessions,
            loop_lag_ms=mean_s * 1e3,
            cpu=cpu,
            probe_p50_ms=probe_ms[0],
            probe_p99_ms=probe_ms[1],
        )


def drifts(looks: list[Look]) -> list[Drift]:
    """Of everything that is judged. Raises ValueError where there are too few samples."""
    times_s = [look.time_s for look in looks]
    return [
        judge(name, unit, times_s, [getattr(look, name) for look in looks], allowance)
        for name, unit, allowance in SERIES
    ]
