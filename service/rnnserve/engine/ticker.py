"""Ticks a model for as long as it has work. The engine's only awaiting file.

A short batch runs on the event loop itself, where a trip to another thread would cost more than the
mathematics; a long one runs in a worker thread, so that the loop goes on reading and answering.
"""

import asyncio
import logging
from concurrent.futures import Executor

from rnnserve.engine.model import Model, Result, Work
from rnnserve.errors import Reason, Refusal

logger = logging.getLogger(__name__)

MAX_LOOP_STALL_S = 0.002
"""The longest that a batch is expected to take and still runs on the loop."""


class Ticker:
    """Runs one model's batches, one after the other."""

    def __init__(self, model: Model, executor: Executor) -> None:
        self._model = model
        self._executor = executor
        self._work = asyncio.Event()

    def wake(self) -> None:
        """There is work."""
        self._work.set()

    async def run(self) -> None:
        """Tick until cancelled. What waits when it ends, however it ends, is answered."""
        try:
            while True:
                await self._work.wait()
                self._work.clear()
                while (work := self._model.take()) is not None:
                    await self._tick(work)
        finally:
            self._model.abandon(Refusal(Reason.DRAINING, "the server has stopped"))

    async def _tick(self, work: Work) -> None:
        for alone in self._model.finish(work, await self._compute(work)):
            await asyncio.sleep(0)
            self._model.finish(alone, await self._compute(alone))
        # Whoever was answered just now may join the next batch.
        await asyncio.sleep(0)

    async def _compute(self, work: Work) -> Result:
        if self._model.expected_s(work.batch) <= MAX_LOOP_STALL_S:
            result = self._model.compute(work)
        else:
            loop = asyncio.get_running_loop()
            result = await loop.run_in_executor(self._executor, self._model.compute, work)
        if result.failure is not None and len(work.batch.rows) == 1:
            logger.error(
                "%s failed on a chunk of session %s at step %d",
                self._model.spec.name,
                work.batch.rows[0].session_id,
                work.batch.rows[0].index,
                exc_info=result.failure,
            )
        return result
