"""The closed loop: every stream has one message under way, and sends the next when it is answered.

The same for every server, so that what differs is the server.
"""

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from rnnserve_bench.channels import LIGHT, open_channels
from rnnserve_bench.cores import tree_cpu_s
from rnnserve_bench.sample import Latency, Sample


@dataclass(frozen=True)
class Span:
    """How long a contestant runs unobserved, and then how long it is measured."""

    warm_s: float
    measure_s: float


@dataclass(frozen=True)
class Load:
    """Streams against one server. `pids` are the processes that make up the server."""

    target: str
    pids: tuple[int, ...]
    model: str
    vocabulary: int
    span: Span
    streams: int = 1
    chunk_steps: int = 1
    sequences: int = 1
    """On each stream, where a protocol lets several share one."""
    client: str = LIGHT
    """Which client makes the load: see `channels`."""


class Talk(Protocol):
    """One stream's conversation."""

    steps: int
    """Steps in one message."""

    async def exchange(self) -> None:
        """One message there and its answer back, checked. Raises BenchProblem for a wrong one."""

    async def leave(self) -> None:
        """End the conversation, and what it holds on the server."""


Join = Callable[[Any, Load, int], Awaitable[Talk]]
"""Begins the conversation of the stream with this number."""


class Window:
    """Counts what ends while it is open."""

    def __init__(self, pids: tuple[int, ...], span: Span) -> None:
        self._pids, self._span = pids, span
        self._open = self.over = False
        self._steps = 0
        self._times_s: list[float] = []

    def count(self, steps: int, time_s: float) -> None:
        """A message of `steps` was answered."""
        if self._open:
            self._steps += steps
            self._times_s.append(time_s)

    async def run(self) -> Sample:
        """Warm up, open, close."""
        await asyncio.sleep(self._span.warm_s)
        gc.collect()
        gc.disable()
        self._open = True
        began = self._clocks()
        await asyncio.sleep(self._span.measure_s)
        ended = self._clocks()
        self._open, self.over = False, True
        gc.enable()
        wall_s, client_s, server_s = (end - start for end, start in zip(ended, began, strict=True))
        return Sample(
            steps=self._steps,
            messages=len(self._times_s),
            wall_s=wall_s,
            latency=Latency.of(self._times_s),
            server_cpu_s=server_s,
            client_cpu_s=client_s,
        )

    def _clocks(self) -> tuple[float, float, float]:
        return time.perf_counter(), time.process_time(), tree_cpu_s(self._pids)


async def drive(load: Load, join: Join) -> Sample:
    """Run `load.streams` conversations side by side, on one connection; measure one window."""
    async with open_channels(load.target, load.client) as (channel,):
        talks = [await join(channel, load, place) for place in range(load.streams)]
        window = Window(load.pids, load.span)
        async with asyncio.TaskGroup() as group:
            for talk in talks:
                group.create_task(repeat(talk, window))
            sample = await window.run()
        await asyncio.gather(*(talk.leave() for talk in talks))
    return sample


async def repeat(talk: Talk, window: Window, *, counted: bool = True) -> None:
    """Exchange until the window is over."""
    steps = talk.steps
    while not window.over:
        began_s = time.perf_counter()
        await talk.exchange()
        if counted:
            window.count(steps, time.perf_counter() - began_s)
