"""Looks at the repository, and lets what is served follow it.

A change is taken up once it has stood still from one look to the next, so that a folder that is
just being copied isn't loaded; at once where somebody asks for it, and then what could not be
loaded is tried again too. A repository that is not there, or in which every model is gone, is a
disk that is away: what is served stays.
"""

import asyncio
import contextlib
import logging
from pathlib import Path
from typing import Protocol

from rnnserve.errors import OperatorError
from rnnserve.repository.footprint import NOTHING, Footprint, footprints

logger = logging.getLogger(__name__)


class Follower(Protocol):
    """Whoever serves the models."""

    footprints: dict[str, Footprint]
    """What each model's folder looked like when it was last read."""

    def ailing(self) -> set[str]:
        """Models of which something could not be loaded."""

    async def follow(self, name: str, now: Footprint) -> None:
        """Serve a model as its folder stands."""

    async def forget(self, name: str) -> None:
        """A model isn't there any more."""


class Watch:
    """Compares the folders with what was read of them."""

    def __init__(self, repository: Path, follower: Follower, poll_s: float) -> None:
        """`poll_s`: seconds between looks; 0: only when asked."""
        self._repository = repository
        self._follower = follower
        self._poll_s = poll_s
        self._asked = asyncio.Event()
        self._last: dict[str, Footprint] | None = None
        """What the folders looked like at the last look."""
        self._is_away = False

    def ask(self) -> None:
        """Look now, and take up what is there."""
        self._asked.set()

    async def run(self) -> None:
        """Look, until cancelled. A look that fails is logged, and the next one comes."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._poll_s or None):
                    await self._asked.wait()
            at_once = self._asked.is_set()
            self._asked.clear()
            try:
                await self.look(at_once=at_once)
            except Exception:
                logger.exception("the repository could not be looked at")

    async def look(self, *, at_once: bool) -> None:
        """Compare once, and have followed what has changed; `at_once`: even if it has only just."""
        now = await asyncio.to_thread(self._footprints)
        if now is None:
            return
        read = self._follower.footprints
        # What went wrong for reasons outside the folder shows in no footprint.
        ailing = self._follower.ailing()
        last = dict(read) if self._last is None else self._last
        for name in sorted(now.keys() | read.keys()):
            there, before = now.get(name, NOTHING), read.get(name, NOTHING)
            changed = there != before or (name in now) != (name in read)
            if not changed and not (at_once and name in ailing):
                continue
            if not at_once and there != last.get(name, NOTHING):
                continue
            if name in now:
                logger.info("model %s %s", name, "has changed on disk" if changed else "again")
                await self._follower.follow(name, there)
            else:
                await self._follower.forget(name)
        self._last = now

    def _footprints(self) -> dict[str, Footprint] | None:
        """Of all models; None where the repository is away."""
        try:
            now = footprints(self._repository)
        except (OperatorError, OSError):
            now = {}
        away = not now and bool(self._follower.footprints)
        if away and not self._is_away:
            logger.error(
                "the repository is empty or not there; what is served stays until models are seen "
                "again"
            )
        self._is_away = away
        return None if away else now
