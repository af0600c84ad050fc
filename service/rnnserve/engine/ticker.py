"""Ticks a model for as long as it has work. The engine's only awaiting file.

A short batch runs on the event loop itself, where a trip to another thread would cost more than the
mathematics; a long one runs in a worker thread, so that the loop goes on reading and answering.
"""

import asyncio
import logging
import time
from concurrent.futures import Executor

from rnnserve.engine import rounds
from rnnserve.engine.model import Model
from rnnserve.errors import Reason, Refusal

logger = logging.getLogger(__name__)

MOST_BREATH_S = 0.001
"""The longest that the loop gets for what waits on it between two batches."""
IDLE_TURN_S = 6e-6
"""A turn of the loop that takes less has found nothing to do."""


class Ticker:
    """Runs one model's batches, one after the other."""

    def __init__(self, executor: Executor, max_stall_s: float = 0.002) -> None:
        """A batch expected to take longer than `max_stall_s` doesn't run on the loop."""
        self._executor = executor
        self._max_stall_s = max_stall_s
        self._asleep: asyncio.Future[None] | None = None
        self._work = False
        self._company = False
        """Whether the last batch had several rows. Who is alone is not kept waiting."""

    def wake(self) -> None:
        """There is work."""
        self._work = True
        if self._asleep is not None and not self._asleep.done():
            self._asleep.set_result(None)

    async def run(self, model: Model) -> None:
        """Tick until cancelled. What waits when it ends, however it ends, is answered."""
        try:
            while True:
                if not self._work:
                    self._asleep = asyncio.get_running_loop().create_future()
                    await self._asleep
                self._work = False
                if self._company:
                    await self._breathe()
                await self._tick_all(model)
        finally:
            model.abandon(Refusal(Reason.DRAINING, "the server has stopped"))

    async def _breathe(self) -> None:
        """Turns of the loop, until one finds nothing to do.

        grpc.aio takes one event a turn: with one turn between batches of 0.6 ms, 64 streams would
        wait 160 ms for a write to end. Who is read meanwhile joins the next batch.
        """
        until_s = time.perf_counter() + MOST_BREATH_S
        began_s = 0.0
        while began_s < until_s:
            began_s = time.perf_counter()
            await asyncio.sleep(0)
            if time.perf_counter() - began_s < IDLE_TURN_S:
                return

    async def _tick_all(self, model: Model) -> None:
        while (batch := rounds.take(model)) is not None:
            work = rounds.gather(model, batch)
            self._company = batch.rows > 1
            if model.expected_s(batch) <= self._max_stall_s:
                result = rounds.compute(model, work)
            else:
                loop = asyncio.get_running_loop()
                result = await loop.run_in_executor(self._executor, rounds.compute, model, work)
            if result.failure is not None and len(batch.alone()) == 1:
                log_failure(model, work, result)
            rounds.finish(model, work, result)
            if model.has_work:
                await self._breathe()


def log_failure(model: Model, work: rounds.Work, result: rounds.Result) -> None:
    """Why a row failed, for the log alone."""
    batch = work.batch
    session = (batch.chunks[0] if batch.chunks else batch.generations[0]).session
    logger.error(
        "%s failed on session %s at step %d",
        model.spec.name,
        session.id[:6],
        session.steps,
        exc_info=result.failure,
    )
