"""Holding the fake still, to look at what is under way."""

import asyncio

from unit.client.fake import PATIENCE_S, Fake


async def under_way(fake: Fake, frames: int = 1) -> None:
    """Waits until so many more frames have come to the server, which holds them."""
    for _ in range(frames):
        assert await asyncio.to_thread(fake.came.acquire, timeout=PATIENCE_S)


def hold(fake: Fake) -> None:
    """The server stops before its next frame; frames that came before don't count."""
    fake.go_on.clear()
    while fake.came.acquire(blocking=False):
        pass
