"""What a client knows of its server's end."""

import asyncio
import time
from collections.abc import Callable


class Drain:
    """Whether the server has said that it stops. Belongs to one stream after the other."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` tells seconds."""
        self._now_s = clock
        self._over_at_s: float | None = None
        self._told = asyncio.Event()

    @property
    def left_s(self) -> float | None:
        """Seconds that open sessions have left; None: nothing was said."""
        return None if self._over_at_s is None else max(0.0, self._over_at_s - self._now_s())

    def told(self, left_s: float) -> None:
        """The server has said that it stops, and when."""
        self._over_at_s = self._now_s() + left_s
        self._told.set()

    def forget(self) -> None:
        """A new stream may lead to another server."""
        self._over_at_s = None
        self._told.clear()

    async def begun(self) -> None:
        """Returns when the server has said that it stops."""
        await self._told.wait()
