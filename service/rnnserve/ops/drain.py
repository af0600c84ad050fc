"""The way from being told to stop to having answered everything.

New sessions are refused at once, and the streams are told how long the open ones have. When those
have ended, or the grace is over, nothing is taken in any more; what was taken in is finished, so
that no step that has happened lacks its answer. Then the streams are cut, each after what is ready
for it. Streams of the Open Inference Protocol have no word for it: they see their sequences'
starts refused, and are cut in the end like the others.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Protocol

from rnnserve.engine.engine import Engine
from rnnserve.engine.meter import Cause

logger = logging.getLogger(__name__)

FINISH_S = 1.0
"""What was taken in has so long once the grace is over."""
LOOK_EVERY_S, LOOK_CLOSELY_S = 0.05, 0.005


class Callers(Protocol):
    """Whoever is connected and speaks our own protocol."""

    def drain(self, left_s: float) -> None:
        """Tell them how long the open sessions have."""

    def cut_generations(self) -> None:
        """End every generation after the tokens that are made."""

    def cut(self) -> None:
        """End every stream after what is ready for it."""


class Others(Protocol):
    """Whoever is connected otherwise."""

    def cut(self) -> None:
        """End every stream after what is ready for it."""


async def drain(engine: Engine, callers: Callers, others: Others, grace_s: float) -> None:
    """Returns when nothing is open and nothing under way, `grace_s` and `FINISH_S` from now at the
    latest."""
    over_at_s = time.monotonic() + grace_s
    engine.drain()
    callers.drain(grace_s)
    logger.info("draining: %d sessions open, %g s left", len(engine.table), grace_s)
    await _until(lambda: not engine.has_callers, over_at_s, LOOK_EVERY_S)
    if cut := len(engine.table):
        logger.warning("%d sessions are cut", cut)
    callers.cut_generations()

    def at_rest() -> bool:
        engine.table.end_all(Cause.DRAINED)
        return engine.is_at_rest

    if not await _until(at_rest, time.monotonic() + FINISH_S, LOOK_CLOSELY_S):
        logger.warning("%d steps were under way for too long: no answer", engine.backlog.steps)
    callers.cut()
    others.cut()


async def _until(holds: Callable[[], bool], at_s: float, every_s: float) -> bool:
    """Wait until it holds, or it is that late; whether it does."""
    while True:
        if holds():
            return True
        if time.monotonic() >= at_s:
            return False
        await asyncio.sleep(every_s)
