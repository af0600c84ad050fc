"""A session of the client for asyncio."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable, Sequence
from functools import partial

from numpy.typing import ArrayLike

from rnnserve.client.channel import CLOSE_TIMEOUT_S
from rnnserve.client.errors import BadInput, ServerError
from rnnserve.client.progress import Answer, Chunk, Progress, checked
from rnnserve.client.stream import OperationStream, Outcome
from rnnserve.v1 import rnnserve_pb2 as pb

Outcomes = asyncio.Future[Outcome]


class AsyncSession:
    """One session: a model's carry on the server, and the index of the next step."""

    def __init__(self, stream: OperationStream, progress: Progress) -> None:
        self.id = progress.id
        self.version = progress.version
        self.inputs = progress.inputs
        self.outputs = progress.outputs
        self.limits = progress.limits
        self._stream = stream
        self._progress = progress
        self._turns = asyncio.Semaphore(max(1, progress.limits.max_pending_chunks))
        self._left = False

    @property
    def index(self) -> int:
        """The index of the next step: how many the session has taken or has under way."""
        return self._progress.index

    async def step(self, *arrays: ArrayLike) -> Answer:
        """Takes a chunk of T >= 1 steps, one array an input, each (T, *shape).

        Returns (T, *shape) of the output, or a dict of them by name when the model has several.
        A single step may leave T out; numbers and lists of Python are taken where nothing is lost.

        Several calls may be under way: they run in the order in which they started, and wait when
        `limits.max_pending_chunks` are. A call that is cancelled while it waits has not happened;
        later, it happens and nobody hears the answer (`index` tells).

        Raises BadInput for arrays that don't fit, and ServerError: the session then stands where
        the chunk began, so that the same chunk may be sent again.
        """
        return await self._answer(*await self._begin(arrays))

    async def steps(
        self, chunks: Iterable[ArrayLike | tuple[ArrayLike, ...]]
    ) -> AsyncIterator[Answer]:
        """The answers to chunks in their order, with as many under way as the server allows.

        A chunk is what `step` takes: an array, or a tuple of them when the model has several
        inputs. Raises as `step` does, at the chunk that failed.
        """
        under_way: deque[tuple[Chunk, Outcomes]] = deque()
        refused: BadInput | None = None
        limit = max(1, self.limits.max_pending_chunks)
        for chunk in chunks:
            if len(under_way) >= limit:
                # Half at a time: one by one, every chunk would travel in a frame of its own.
                while len(under_way) > limit // 2:
                    yield await self._answer(*under_way.popleft())
            try:
                under_way.append(await self._begin(chunk if isinstance(chunk, tuple) else (chunk,)))
            except BadInput as error:
                refused = error
                break
        while under_way:
            yield await self._answer(*under_way.popleft())
        if refused:
            raise refused

    async def close(self) -> int:
        """Ends the session after the steps under way; returns how many it took."""
        self._left = True
        outcome = self._stream.ask(self._progress.closing())
        return event_of(await outcome).closed.steps

    async def leave(self) -> None:
        """Closes, whatever the server says: the session is over for us either way."""
        if self._left:
            return
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self.close()
        except (ServerError, TimeoutError):
            pass

    async def _begin(self, arrays: Sequence[ArrayLike]) -> tuple[Chunk, Outcomes]:
        encoded = self._progress.encode(arrays)
        await self._turns.acquire()
        chunk = self._progress.begin(encoded)
        return chunk, self._stream.ask(chunk.operation, partial(self._settled, chunk))

    async def _answer(self, chunk: Chunk, outcome: Outcomes) -> Answer:
        return self._progress.answer(chunk, event_of(await outcome))

    def _settled(self, chunk: Chunk, outcome: Outcome) -> None:
        if isinstance(outcome, ServerError) or outcome.HasField("error"):
            self._progress.failed(chunk)
        self._turns.release()


def event_of(outcome: Outcome) -> pb.Event:
    """What the server answered; raises the ServerError that came instead."""
    if isinstance(outcome, ServerError):
        raise outcome
    return checked(outcome)
