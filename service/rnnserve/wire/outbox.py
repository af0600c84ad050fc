"""Answers on their way out of one call."""

import asyncio
from typing import Generic, TypeVar

T = TypeVar("T")


class Outbox(Generic[T]):
    """Collects answers as they become ready, for one writer that takes all there are.

    It is bounded by promises: who reads an operation waits for `room` and calls `promise`, and the
    promise is over when its answer has been written. So a client that doesn't read its answers is
    not read from either.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._promised = 0
        self._taken = 0
        self._ready: list[T] = []
        self._over = False
        self._failure: Exception | None = None
        self._changed = asyncio.Event()
        self._has_room = asyncio.Event()
        self._has_room.set()

    async def room(self) -> None:
        """Wait until fewer answers than the capacity are promised and not yet written."""
        await self._has_room.wait()

    def promise(self) -> None:
        """One more answer will be put."""
        self._promised += 1
        if self._promised >= self._capacity:
            self._has_room.clear()

    def put(self, answer: T) -> None:
        """An answer that was promised."""
        self._ready.append(answer)
        self._changed.set()

    def finish(self) -> None:
        """No more promises; the writer ends when all are kept."""
        self._over = True
        self._changed.set()

    def fail(self, failure: Exception) -> None:
        """The writer writes what is ready and then raises `failure`."""
        if self._failure is None:
            self._failure = failure
            self._changed.set()

    async def take(self) -> list[T]:
        """All answers that are ready, at least one; what was taken before counts as written.

        Empty when all is over. Raises what `fail` was given.
        """
        self._promised -= self._taken
        self._taken = 0
        if self._promised < self._capacity:
            self._has_room.set()
        while not self._ready:
            if self._failure is not None:
                raise self._failure
            if self._over and not self._promised:
                return []
            self._changed.clear()
            await self._changed.wait()
        ready, self._ready = self._ready, []
        self._taken = len(ready)
        return ready
