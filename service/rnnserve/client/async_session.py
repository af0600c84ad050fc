"""A session of the client for asyncio."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Self, Unpack

from numpy.typing import ArrayLike

from rnnserve.client.async_generation import AsyncGeneration, Continued
from rnnserve.client.carry import Carry
from rnnserve.client.channel import CLOSE_TIMEOUT_S
from rnnserve.client.codec import Encoded
from rnnserve.client.errors import BadInput, ServerError
from rnnserve.client.generation import End, Prompt, Sampling, continue_request
from rnnserve.client.outcome import Outcome, Outcomes, event_of, sessions_made
from rnnserve.client.progress import Answer, Chunk, Progress, closing, timeout_us
from rnnserve.client.search import Search
from rnnserve.client.stream import OperationStream
from rnnserve.client.turns import Turns
from rnnserve.v1 import rnnserve_pb2 as pb
from rnnserve.v1 import rnnserve_pb2_grpc as rpc


class AsyncSession:
    """One session: a model's carry on the server, and the index of the next step.

    What is asked of a session happens in the order in which it was asked. Every method raises
    BadInput for what is refused before it is sent, and ServerError.
    """

    def __init__(
        self, stub: "rpc.RnnServeAsyncStub", stream: OperationStream, progress: Progress
    ) -> None:
        origin = progress.origin
        self.id = progress.id
        self.version = origin.version
        self.inputs = origin.inputs
        self.outputs = origin.outputs
        self.carry = origin.carry
        self.limits = origin.limits
        self._stub = stub
        self._stream = stream
        self._progress = progress
        self._limit = max(1, origin.limits.max_pending_chunks)
        self._turns = Turns(self._limit)
        self._search = Search(stream, progress)
        self._left = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.leave()

    @property
    def index(self) -> int:
        """The index of the next step: how many the session has taken or has under way.

        While `generate` moves the session, and after a generation that failed or was left early,
        it is the one from before. The next operation asks the server first; so does `locate`.
        """
        return self._progress.index

    @property
    def left_s(self) -> float | None:
        """Seconds until the server ends the session because it stops, as far as it has said so."""
        return self._stream.drain.left_s

    async def step(self, *arrays: ArrayLike, timeout_s: float | None = None) -> Answer:
        """Takes a chunk of T >= 1 steps, one array an input, each (T, *shape). Where a shape has a
        -1, a chunk is one step, and each array has the shape itself, of any length there.

        Returns (T, *shape) of the output, or a dict of them by name when the model has several.
        A single step may leave T out; numbers and lists of Python are taken where nothing is lost.

        With `timeout_s` the server refuses (too_late) what it can't answer within that many seconds
        of the message's arrival; a step so refused has not happened.

        Several calls may be under way: they run in the order in which they started, and wait when
        `limits.max_pending_chunks` are. A call that is cancelled while it waits has not happened;
        later, it happens and nobody hears the answer (`index` tells).

        After a ServerError the session stands where the chunk began, so that the same chunk may be
        sent again.
        """
        within_us = timeout_us(timeout_s)
        encoded = self._progress.encode(arrays)
        if not self._has_turn():
            await self._turn()
        chunk, outcome = self._begin(encoded, within_us)
        return self._progress.answer(chunk, event_of(await outcome))

    async def steps(
        self, chunks: Iterable[ArrayLike | tuple[ArrayLike, ...]]
    ) -> AsyncIterator[Answer]:
        """The answers to chunks in their order, with as many under way as the server allows.

        A chunk is what `step` takes: an array, or a tuple of them when the model has several
        inputs. Raises as `step` does, at the chunk that failed.
        """
        under_way: deque[tuple[Chunk, Outcomes]] = deque()
        refused: BadInput | None = None
        for chunk in chunks:
            if len(under_way) >= self._limit:
                # Half at a time: one by one, every chunk would travel in a frame of its own.
                while len(under_way) > self._limit // 2:
                    yield await self._answer(*under_way.popleft())
            try:
                encoded = self._progress.encode(chunk if isinstance(chunk, tuple) else (chunk,))
            except BadInput as error:
                refused = error
                break
            if not self._has_turn():
                await self._turn()
            under_way.append(self._begin(encoded))
        while under_way:
            yield await self._answer(*under_way.popleft())
        if refused:
            raise refused

    async def reset(
        self, *, carry: Carry | None = None, seed: int | None = None, scale: float | None = None
    ) -> None:
        """Begins the carry anew, behind the steps under way; the index goes on.

        From zeros, from `carry` (all of `self.carry` by name, without rows), or at random from
        `seed`, with standard deviation `scale` (1). Where a step before it failed, it is refused
        (index_gap) and changes nothing.

        Steps that start before its answer are sent behind it at once, and go on from the old carry
        where it is refused. If the stream breaks then, the resent reset may find them taken
        (index_past): it has happened, unless it was refused. Who has to know awaits it first.
        """
        await self._in_turn(partial(self._progress.resetting, carry, seed, scale))

    async def fork(self, count: int = 1) -> list["AsyncSession"]:
        """New sessions with this one's carry and index, behind the steps under way; all or none.

        Each lives a life of its own, outlives this one, and is yours to close:

            (fork,) = await session.fork()
            async with fork:
                await fork.step(4)

        They share the client's stream.
        """
        outcome = await self._ask_in_turn(partial(self._progress.forking, count))
        forked = (await sessions_made(self._stream, outcome)).forked
        return [self._fork(session_id, forked.index) for session_id in forked.session_ids]

    async def export(self) -> bytes:
        """The session as it is behind the steps under way, for `client.restore`; it lives on."""
        return (await self._in_turn(self._progress.exporting)).exported.blob

    def generate(
        self, prompt: Prompt = "", *, fork: bool = False, **sampling: Unpack[Sampling]
    ) -> AsyncGeneration:
        """Goes on from where the session stands, with a prompt or, after a step, without one.

        The session then stands after the last token sent. While it generates, whatever else is
        asked of it is refused (session_busy). A generation that is left early or fails has moved it
        too, by nobody knows how much: what is asked next finds out first.

        With `fork` the session stays as it is, and `generation.fork` is the session that was moved.
        """
        request = continue_request(self.id, prompt, fork, sampling)
        continued = Continued(
            partial(self._generates, fork),
            partial(self._generated, fork),
            partial(self._generation_left, fork),
        )
        return AsyncGeneration(self._stub, request, continued)

    async def locate(self) -> int:
        """Asks the server for the index of the next step; `index` is that from then on."""
        self._progress.lost = True
        await self._search.done()
        return self.index

    async def close(self) -> int:
        """Ends the session after the steps under way; returns how many it took."""
        self._left = True
        if self._progress.lost:
            await self._search.done()
        outcome = self._stream.ask(closing(self.id))
        return event_of(await outcome).closed.steps

    async def leave(self) -> None:
        """Closes, whatever the server says: the session is over for us either way."""
        if self._left:
            return
        with suppress(ServerError, TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self.close()

    def _has_turn(self) -> bool:
        """Takes the caller's turn, where that needs no waiting: most steps then need no coroutine
        for it."""
        return not self._search.is_on and self._turns.take_now()

    async def _turn(self) -> None:
        """Returns when it is the caller's turn to send; whoever sends gives it back."""
        await self._turns.take()
        if self._search.is_on:
            try:
                await self._search.done()
            except BaseException:
                self._turns.give_back()
                raise

    def _begin(self, encoded: Encoded, within_us: int = 0) -> tuple[Chunk, Outcomes]:
        chunk = self._progress.begin(encoded, within_us)
        return chunk, self._stream.ask(chunk.operation, partial(self._settled, chunk))

    async def _answer(self, chunk: Chunk, outcome: Outcomes) -> Answer:
        return self._progress.answer(chunk, event_of(await outcome))

    def _settled(self, chunk: Chunk, outcome: Outcome) -> None:
        if isinstance(outcome, ServerError):
            self._progress.failed(chunk)
        self._turns.give_back()

    async def _ask_in_turn(self, operation: Callable[[], pb.Operation]) -> Outcomes:
        """Asks what is only known when its turn has come: by then, all before it have begun."""
        await self._turn()
        try:
            asked = operation()
        except BaseException:
            self._turns.give_back()
            raise
        return self._stream.ask(asked, lambda _: self._turns.give_back())

    async def _in_turn(self, operation: Callable[[], pb.Operation]) -> pb.Event:
        return event_of(await (await self._ask_in_turn(operation)))

    def _fork(self, session_id: str, index: int) -> "AsyncSession":
        return AsyncSession(self._stub, self._stream, self._progress.forked(session_id, index))

    async def _generates(self, fork: bool) -> None:
        """Waits for what was asked before: the generation goes another way than the stream."""
        await self._turns.quiet()
        if self._progress.lost:
            await self._search.done()
        if not fork:
            self._progress.generates()

    def _generated(self, fork: bool, end: End) -> "AsyncSession | None":
        if fork:
            return self._fork(end.session_id, end.index)
        self._progress.generated(end)
        return None

    def _generation_left(self, fork: bool, fork_id: str) -> None:
        if not fork:
            self._progress.generated(None)
        elif fork_id:
            # The server may have written the end, and then the fork is ours; where it hadn't, it
            # discards the fork itself and refuses this. Nobody waits: the caller may be cancelled.
            self._stream.ask(closing(fork_id))
