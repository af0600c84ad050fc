"""Whose turn it is to send, among the calls of one session."""

import asyncio
from collections import deque


class Turns:
    """At most `limit` turns are taken at once; they come in the order in which they were asked for.

    Where somebody waits, all turns are taken: one that is given back is handed on, so that nobody
    comes between. Who was cancelled meanwhile is passed over then.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._taken = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._quiet: asyncio.Event | None = None

    def take_now(self) -> bool:
        """Takes a turn, where that needs no waiting."""
        if self._taken >= self._limit:
            return False
        self._taken += 1
        return True

    async def take(self) -> None:
        if self.take_now():
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give_back()  # it had come already
            raise

    def give_back(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._taken -= 1
        if self._quiet is not None and not self._taken:
            self._quiet.set()

    async def quiet(self) -> None:
        """Returns when every turn that was asked for before has been given back."""
        await self.take()
        self.give_back()
        while self._taken:
            self._quiet = asyncio.Event()
            await self._quiet.wait()
