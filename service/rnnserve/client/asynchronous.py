"""The client for asyncio: all sessions of an AsyncClient share one stream."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Self, Unpack

import grpc
import grpc.aio

from rnnserve.client.async_session import AsyncSession, Outcomes, event_of
from rnnserve.client.channel import DESCRIBE_TIMEOUT_S, NO_COMPRESSION, OPTIONS
from rnnserve.client.errors import from_rpc_error
from rnnserve.client.facts import Model, Models, read_model, read_models
from rnnserve.client.generation import (
    End,
    Piece,
    Sampling,
    generate_request,
    read_end,
    read_piece,
)
from rnnserve.client.progress import Progress, opening
from rnnserve.client.stream import OperationStream, read
from rnnserve.repository.tokenizer import Tokenizer
from rnnserve.v1 import rnnserve_pb2 as pb
from rnnserve.v1 import rnnserve_pb2_grpc as rpc


class AsyncClient:
    """A connection to a server, for one event loop.

        async with AsyncClient("localhost:8001") as client:
            async with client.open("letters") as session:
                logits = await session.step([4, 7, 1])  # (3, V)

    Every method raises ServerError; `credentials` turns on TLS.
    """

    def __init__(self, target: str, *, credentials: grpc.ChannelCredentials | None = None) -> None:
        self._target = target
        self._credentials = credentials

    async def __aenter__(self) -> Self:
        # grpc.aio binds a channel to the loop that runs now.
        if self._credentials is None:
            self._channel = grpc.aio.insecure_channel(
                self._target, options=OPTIONS, compression=NO_COMPRESSION
            )
        else:
            self._channel = grpc.aio.secure_channel(
                self._target, self._credentials, options=OPTIONS, compression=NO_COMPRESSION
            )
        self._stub = rpc.RnnServeStub(self._channel)
        self._stream = OperationStream(self._stub)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stream.close()
        await self._channel.close()

    async def wait_ready(self, timeout_s: float) -> None:
        """Returns when the server answers; raises ServerError (transport) after `timeout_s`."""
        await self._models(timeout_s, wait_for_ready=True)

    async def models(self) -> Models:
        """Every model the server has, without the tokenizers."""
        return await self._models(DESCRIBE_TIMEOUT_S, wait_for_ready=False)

    async def describe(self, name: str, version: int = 0) -> Model:
        """One model, whole; version 0 is the newest that is ready."""
        request = pb.DescribeModelRequest(model=name, version=version)
        try:
            return read_model(await self._stub.DescribeModel(request, timeout=DESCRIBE_TIMEOUT_S))
        except grpc.RpcError as error:
            raise from_rpc_error(error) from None

    async def tokenizer(self, name: str, version: int = 0) -> Tokenizer | None:
        """The model's own tokenizer; None where it has none."""
        json = (await self.describe(name, version)).tokenizer_json
        return Tokenizer(json) if json else None

    @asynccontextmanager
    async def open(self, model: str, version: int = 0) -> AsyncIterator[AsyncSession]:
        """A session from a zero carry, closed on leaving; version 0 is the newest."""
        session = await self._opened(model, version)
        try:
            yield session
        finally:
            await session.leave()

    def generate(
        self,
        model: str,
        prompt: str | Sequence[int],
        version: int = 0,
        **sampling: Unpack[Sampling],
    ) -> "AsyncGeneration":
        """Text or tokens after a prompt; see `Sampling` for what can be asked."""
        return AsyncGeneration(self._stub, generate_request(model, version, prompt, sampling))

    async def _models(self, timeout_s: float, wait_for_ready: bool) -> Models:
        call = self._stub.ListModels(
            pb.ListModelsRequest(), timeout=timeout_s, wait_for_ready=wait_for_ready
        )
        try:
            return read_models(await call)
        except grpc.RpcError as error:
            raise from_rpc_error(error) from None

    async def _opened(self, model: str, version: int) -> AsyncSession:
        outcome = self._stream.ask(opening(model, version))
        try:
            event = event_of(await asyncio.shield(outcome))
        except asyncio.CancelledError:
            # The server opens it all the same, and nobody would ever close it.
            outcome.add_done_callback(self._close_unwanted)
            raise
        session = AsyncSession(self._stream, Progress(event.opened))
        self._stream.max_frame_bytes = (
            session.limits.max_frame_bytes or self._stream.max_frame_bytes
        )
        return session

    def _close_unwanted(self, outcome: Outcomes) -> None:
        event = outcome.result()
        if isinstance(event, pb.Event) and event.HasField("opened"):
            self._stream.ask(Progress(event.opened).closing())


class AsyncGeneration:
    """One generation, read once.

        generation = client.generate("letters", "ROMEO:", max_tokens=100)
        async for piece in generation:
            print(piece.text, end="", flush=True)
        print(generation.end.seed)

    Where the loop is left early, the server stops too.
    """

    end: End | None = None
    """How it ended; None before that."""

    def __init__(self, stub: "rpc.RnnServeAsyncStub", request: pb.GenerateRequest) -> None:
        self._stub = stub
        self._request = request

    async def __aiter__(self) -> AsyncIterator[Piece]:
        call = self._stub.Generate(self._request)
        try:
            while (reply := await read(call)) is not None:
                self.end = read_end(reply)
                if piece := read_piece(reply):
                    yield piece
        finally:
            call.cancel()
