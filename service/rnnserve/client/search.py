"""The search for a session's index, after a generation moved it and did not say how far."""

import asyncio

from rnnserve.client.channel import BUSY_PAUSES_S
from rnnserve.client.progress import Progress
from rnnserve.client.stream import OperationStream


class Search:
    """Asks the server once for all who need to know; they go on in the order in which they came."""

    def __init__(self, stream: OperationStream, progress: Progress) -> None:
        self._stream = stream
        self._progress = progress
        self._lock = asyncio.Lock()
        self._waiting = 0

    @property
    def is_on(self) -> bool:
        """Whether somebody waits for it still, who came before whoever comes now."""
        return self._progress.lost or self._waiting > 0

    async def done(self) -> None:
        """Returns when the index is known; raises ServerError where it can't be found."""
        self._waiting += 1
        try:
            async with self._lock:
                if self._progress.lost:
                    await self._ask()
        finally:
            self._waiting -= 1

    async def _ask(self) -> None:
        for pause_s in (*BUSY_PAUSES_S, None):
            busy = self._progress.told(await self._stream.ask(self._progress.asking()))
            if busy is None:
                return
            if pause_s is None:
                raise busy
            await asyncio.sleep(pause_s)
