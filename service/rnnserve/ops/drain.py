"""The way from being told to stop to having answered everything.

New sessions are refused at once, and the streams are told how long the open ones have. When those
have ended, or the grace is over, nothing is taken in any more; what was taken in is finished, so
that no step that has happened lacks its answer. Then the streams are cut, each after what is ready
for it, and have a moment to be read. Streams of the Open Inference Protocol have no word for a
drain: they see new sequences refused, and are cut in the end like the others.
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
WRITE_S = 0.5
"""What is ready has so long to be read."""
QUIET_S = 0.1
"""A stream isn't cut while its client still sends: it hears by its refusals that it should not. A
client of grpc.aio that is writing when its stream ends loses the answers it has not read; so does
one whose connection ends with bytes in it, since TCP resets it then."""
LOOK_EVERY_S, LOOK_CLOSELY_S = 0.05, 0.005


class Streams(Protocol):
    """Whoever is connected."""

    @property
    def heard(self) -> int:
        """Messages read on streams so far."""

    @property
    def streams(self) -> int:
        """How many are open."""

    def cut(self) -> None:
        """End every stream after what is ready for it, and those that still open at once."""


class Callers(Streams, Protocol):
    """Those who speak our own protocol."""

    def drain(self, left_s: float) -> None:
        """Tell them how long the open sessions have."""

    def cut_generations(self) -> None:
        """End every generation after the tokens that are made."""


async def drain(engine: Engine, callers: Callers, others: Streams, grace_s: float) -> None:
    """Returns when nothing is open and nothing under way; at the latest so much from now as
    `grace_s`, `FINISH_S` and twice `WRITE_S` are together."""
    over_at_s = time.monotonic() + grace_s
    is_idle = not (engine.has_callers or callers.streams or others.streams)
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
    if not is_idle:
        await _quiet((callers, others))
    callers.cut()
    others.cut()

    def gone() -> bool:
        return not (callers.streams or others.streams)

    await _until(gone, time.monotonic() + WRITE_S, LOOK_CLOSELY_S)


async def _quiet(connected: tuple[Streams, Streams]) -> None:
    """Wait until nobody says anything on a stream, but no longer than `WRITE_S`."""
    until_s = time.monotonic() + WRITE_S
    heard = -1
    while heard != (now := sum(streams.heard for streams in connected)):
        if time.monotonic() >= until_s:
            return
        heard = now
        await asyncio.sleep(QUIET_S)


async def _until(holds: Callable[[], bool], at_s: float, every_s: float) -> bool:
    """Wait until it holds, or it is that late; whether it does."""
    while True:
        if holds():
            return True
        if time.monotonic() >= at_s:
            return False
        await asyncio.sleep(every_s)
