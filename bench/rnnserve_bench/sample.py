"""What one window of one contestant measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Latency:
    """Of a run, or of a message and its answer (us)."""

    p50_us: float
    p99_us: float
    max_us: float

    @classmethod
    def of(cls, times_s: Sequence[float]) -> Latency | None:
        """None where nothing was timed."""
        if not len(times_s):
            return None
        p50, p99, most = np.percentile(times_s, (50, 99, 100)) * 1e6
        return cls(float(p50), float(p99), float(most))


@dataclass(frozen=True)
class Sample:
    """One window. `steps` counts every row's steps; times are in seconds."""

    steps: int
    messages: int
    wall_s: float
    latency: Latency | None = None
    server_cpu_s: float | None = None
    client_cpu_s: float | None = None
    facts: dict[str, float] = field(default_factory=dict)
    """What else was seen, by name and unit: `block_steps`, `batch_rows`, ..."""

    @property
    def step_us(self) -> float:
        """Wall time for each step."""
        return self.wall_s / self.steps * 1e6

    @property
    def steps_per_s(self) -> float:
        return self.steps / self.wall_s

    @property
    def server_step_us(self) -> float:
        """Server CPU for each step; NaN where there is no server."""
        return float("nan") if self.server_cpu_s is None else self.server_cpu_s / self.steps * 1e6

    @property
    def server_message_us(self) -> float:
        if self.server_cpu_s is None or not self.messages:
            return float("nan")
        return self.server_cpu_s / self.messages * 1e6

    @property
    def server_load(self) -> float:
        """Share of its core that the server was busy."""
        return float("nan") if self.server_cpu_s is None else self.server_cpu_s / self.wall_s

    @property
    def client_load(self) -> float:
        """Share of its core that the load generator was busy."""
        return float("nan") if self.client_cpu_s is None else self.client_cpu_s / self.wall_s

    @property
    def p50_us(self) -> float:
        return self.latency.p50_us if self.latency else float("nan")

    @property
    def p99_us(self) -> float:
        return self.latency.p99_us if self.latency else float("nan")

    @property
    def max_us(self) -> float:
        return self.latency.max_us if self.latency else float("nan")

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON; `from_dict` is its inverse."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Sample:
        latency = data["latency"]
        return cls(**{**data, "latency": Latency(**latency) if latency else None})
