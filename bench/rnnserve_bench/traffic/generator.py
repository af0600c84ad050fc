"""One process's part of a load: who sends when.

Open loop: arrivals come by the clock, whatever the server does. One that finds no free session
waits here, and its latency counts from when it was due. Closed loop: a session sends when it has
its answer and has thought. One chunk of a session is under way at most, as its next one depends on
the answer.
"""

import asyncio
import time
from collections import deque

import numpy as np

from rnnserve_bench.traffic.book import NEVER, NOT_SENT, Book
from rnnserve_bench.traffic.connections import Connections
from rnnserve_bench.traffic.driven import Group
from rnnserve_bench.traffic.lane import Lane
from rnnserve_bench.traffic.plan import Plan
from rnnserve_bench.traffic.rate import arrivals

OPENED_AT_ONCE = 64
LONGEST_TURN_S = 0.002
"""A generator that is behind still reads answers that often."""


class Generator:
    """Opens, runs once, closes."""

    def __init__(self, plan: Plan, book: Book) -> None:
        self._plan, self._book = plan, book
        self._rng = np.random.default_rng(plan.seed)
        self._groups = [Group(plan.frame) for _ in range(plan.groups)]
        tls = None if plan.tls is None else plan.tls.context()
        self._connections = Connections(plan.target, plan.connections, tls)
        freed = self._serve_next if plan.is_open else self._think
        self._lanes = [
            Lane(place, plan, self._connections, book, freed) for place in range(plan.streams)
        ]
        self._free: deque[Group] = deque()
        """Longest free first: then all take turns."""
        self._waiting: deque[tuple[float, float]] = deque()
        """Of an open loop: when it was due, and when it was taken up."""
        self._end_s = 0.0
        self._over = False
        self.lost_streams = 0
        """That had ended, and weren't back, when the time was over."""

    async def open(self) -> None:
        """Open every session. Raises BenchProblem."""
        streams = self._plan.streams
        for first in range(0, streams, OPENED_AT_ONCE):
            places = range(first, min(first + OPENED_AT_ONCE, streams))
            opening = (self._lanes[p].open(self._groups[p::streams]) for p in places)
            for found in await asyncio.gather(*opening, return_exceptions=True):
                if found is not None:
                    await self.close()
                    raise found

    async def run(self, start_s: float, stop: asyncio.Event) -> None:
        """Send from then on, until the time is over or `stop` is set; wait for the answers."""
        self._book.start_s = start_s
        self._end_s = start_s + self._plan.duration_s
        pace = self._pace if self._plan.is_open else self._begin_all
        pacing = asyncio.create_task(pace(start_s))
        stopping = asyncio.create_task(stop.wait())
        left_s = self._end_s - time.monotonic()
        await asyncio.wait({stopping}, timeout=left_s)
        self._end_s = min(self._end_s, time.monotonic())
        self._over = True
        self.lost_streams = sum(lane.is_lost for lane in self._lanes)
        pacing.cancel()
        await asyncio.gather(pacing, return_exceptions=True)
        await self._settle(stopping)
        stopping.cancel()

    async def close(self) -> None:
        """Close sessions, streams and connections."""
        await asyncio.gather(*(lane.close() for lane in self._lanes))
        for due_s, taken_s in self._waiting:
            for _ in range(self._plan.frame):
                self._book.add(due_s, taken_s, NEVER, NEVER, 0, NOT_SENT)
        self._waiting.clear()
        await self._connections.close()

    async def _settle(self, stopping: "asyncio.Task[bool]") -> None:
        """What was due is still sent and answered, in the time that the plan gives it."""
        until_s = time.monotonic() + self._plan.settle_s
        while time.monotonic() < until_s and not stopping.done():
            if not self._waiting and not any(group.missing for group in self._groups):
                break
            await asyncio.sleep(0.01)

    # ---- open loop ---------------------------------------------------------------

    async def _pace(self, start_s: float) -> None:
        plan = self._plan
        assert plan.rate is not None
        rng = self._rng if plan.poisson else None
        self._free.extend(self._groups)
        turn_s = 0.0
        # A rate counts chunks, an arrival is a frame of them.
        for moment_s in arrivals(plan.rate.scaled(1 / plan.frame), rng, plan.phase):
            due_s = start_s + moment_s
            now_s = time.monotonic()
            if now_s < due_s:
                await asyncio.sleep(due_s - now_s)
                now_s = turn_s = time.monotonic()
            elif now_s - turn_s > LONGEST_TURN_S:
                await asyncio.sleep(0)
                turn_s = time.monotonic()
            if self._free:
                self._send(self._free.popleft(), due_s, now_s)
            else:
                self._waiting.append((due_s, now_s))

    def _serve_next(self, group: Group, now_s: float) -> None:
        """A group is free: for the arrival that waits longest, if any does."""
        if self._waiting:
            self._send(group, *self._waiting.popleft())
        else:
            self._free.append(group)

    # ---- closed loop -------------------------------------------------------------

    async def _begin_all(self, start_s: float) -> None:
        """Every session's first chunk, spread over the ramp."""
        loop = asyncio.get_running_loop()
        for place, group in enumerate(self._groups):
            due_s = start_s + self._plan.ramp_s * place / len(self._groups)
            loop.call_at(due_s, self._fire, group, due_s)

    def _think(self, group: Group, now_s: float) -> None:
        due_s = now_s + self._plan.think.draw(self._rng)
        if due_s > now_s:
            asyncio.get_running_loop().call_at(due_s, self._fire, group, due_s)
        else:
            self._fire(group, due_s)

    def _fire(self, group: Group, due_s: float) -> None:
        if not self._over and due_s < self._end_s:
            self._send(group, due_s, time.monotonic())

    def _send(self, group: Group, due_s: float, taken_s: float) -> None:
        group.due_s, group.taken_s = due_s, taken_s
        group.steps = self._plan.lengths.draw(self._rng)
        assert group.lane is not None
        group.lane.send(group)
