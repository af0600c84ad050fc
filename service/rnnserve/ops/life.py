"""What a process has begun, and ends in the reverse order."""

import asyncio
from collections.abc import Awaitable, Coroutine
from contextlib import AsyncExitStack


class Life(AsyncExitStack):
    """Everything that is to be ended, each by what was pushed or called back for it."""

    def accompany(self, work: Coroutine[None, None, None]) -> None:
        """Do this beside everything else, until its turn to end comes."""
        task = asyncio.create_task(work)

        async def end() -> None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        self.push_async_callback(end)


async def first(*waits: Awaitable[object]) -> None:
    """Wait until one of them is over, and no longer for the others."""
    waiting = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()
