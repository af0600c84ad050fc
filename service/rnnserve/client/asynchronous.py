"""The client for asyncio: all sessions of an AsyncClient share one stream."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Self, Unpack

import grpc
import grpc.aio

from rnnserve.client.async_generation import AsyncGeneration
from rnnserve.client.async_session import AsyncSession
from rnnserve.client.carry import Carry, initial_carry
from rnnserve.client.channel import DESCRIBE_TIMEOUT_S, NO_COMPRESSION, options_for
from rnnserve.client.codec import Tensor
from rnnserve.client.errors import ServerError, from_rpc_error
from rnnserve.client.facts import Audit, Model, Models, read_audit, read_model, read_models
from rnnserve.client.frames import fitting
from rnnserve.client.generation import Prompt, Sampling, generate_request
from rnnserve.client.outcome import sessions_made
from rnnserve.client.progress import Progress, importing, opening, other_carry
from rnnserve.client.stream import OperationStream
from rnnserve.repository.tokenizer import Tokenizer
from rnnserve.v1 import rnnserve_pb2 as pb
from rnnserve.v1 import rnnserve_pb2_grpc as rpc


class AsyncClient:
    """A connection to a server, for one event loop.

        async with AsyncClient("localhost:8001") as client:
            async with client.open("letters") as session:
                logits = await session.step([4, 7, 1])  # (3, V)

    Every method raises ServerError; `credentials` turns on TLS, where the server's certificate is
    for `server_name`, or else for the target's.
    """

    def __init__(
        self,
        target: str,
        *,
        credentials: grpc.ChannelCredentials | None = None,
        server_name: str | None = None,
    ) -> None:
        self._target = target
        self._options = options_for(server_name)
        self._credentials = credentials
        self._carries: dict[tuple[str, int], tuple[Tensor, ...]] = {}

    async def __aenter__(self) -> Self:
        # grpc.aio binds a channel to the loop that runs now.
        if self._credentials is None:
            self._channel = grpc.aio.insecure_channel(
                self._target, options=self._options, compression=NO_COMPRESSION
            )
        else:
            self._channel = grpc.aio.secure_channel(
                self._target,
                self._credentials,
                options=self._options,
                compression=NO_COMPRESSION,
            )
        self._stub = rpc.RnnServeStub(self._channel)
        self._stream = OperationStream(self._stub)
        self._describing = asyncio.Lock()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stream.close()
        await self._channel.close()

    @property
    def left_s(self) -> float | None:
        """Seconds until the server ends the sessions that are open, once it has said on this
        client's stream that it stops: it takes no new ones. None: it has said nothing."""
        return self._stream.drain.left_s

    async def draining(self) -> float:
        """Returns `left_s` when the server has said that it stops. It can be told only while this
        client has a stream, that is, after the first operation of a session."""
        await self._stream.drain.begun()
        return self.left_s or 0.0

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
    async def open(
        self,
        model: str,
        version: int = 0,
        *,
        carry: Carry | None = None,
        seed: int | None = None,
        scale: float | None = None,
    ) -> AsyncIterator[AsyncSession]:
        """A session, closed on leaving; version 0 is the newest.

        It begins with zeros, with `carry` (all of `Model.carry` by name, without rows), or at
        random from `seed`, with standard deviation `scale` (1). What the model's carry is, the
        first call with one asks the server.

        Raises BadInput (bad_carry) before anything is opened.
        """
        async with await self._opened(model, version, carry, seed, scale) as session:
            yield session

    @asynccontextmanager
    async def restore(
        self, model: str, blob: bytes, version: int = 0
    ) -> AsyncIterator[AsyncSession]:
        """A new session from what `export` gave, with its index; closed on leaving."""
        async with await self._made(importing(model, version, blob), "the blob") as session:
            yield session

    def generate(
        self,
        model: str,
        prompt: Prompt,
        version: int = 0,
        **sampling: Unpack[Sampling],
    ) -> AsyncGeneration:
        """Text or tokens after a prompt; see `Sampling` for what can be asked."""
        return AsyncGeneration(self._stub, generate_request(model, version, prompt, sampling))

    async def audit(self) -> Audit:
        """Has the server hold its tables against each other."""
        try:
            reply = await self._stub.Audit(pb.AuditRequest(), timeout=DESCRIBE_TIMEOUT_S)
        except grpc.RpcError as error:
            raise from_rpc_error(error) from None
        return read_audit(reply)

    async def _models(self, timeout_s: float, wait_for_ready: bool) -> Models:
        call = self._stub.ListModels(
            pb.ListModelsRequest(), timeout=timeout_s, wait_for_ready=wait_for_ready
        )
        try:
            return read_models(await call)
        except grpc.RpcError as error:
            raise from_rpc_error(error) from None

    async def _opened(
        self,
        model: str,
        version: int,
        carry: Carry | None,
        seed: int | None,
        scale: float | None,
    ) -> AsyncSession:
        if carry is None:
            initial = initial_carry(None, seed, scale, ())
            return await self._made(opening(model, version, initial), "the carry")
        known = await self._carry_of(model, version)
        try:
            initial = initial_carry(carry, seed, scale, known)
            session = await self._made(opening(model, version, initial), "the carry")
            if session.carry != known:
                await session.leave()
                raise other_carry(model, session.version)
        except ServerError:
            # What was known may be that of an older version.
            self._carries.pop((model, version), None)
            raise
        return session

    async def _carry_of(self, model: str, version: int) -> tuple[Tensor, ...]:
        async with self._describing:
            if (model, version) not in self._carries:
                self._carries[model, version] = (await self.describe(model, version)).carry
            return self._carries[model, version]

    async def _made(self, operation: pb.Operation, what: str) -> AsyncSession:
        limits = self._stream.limits
        outcome = self._stream.ask(
            fitting(operation, limits.max_frame_bytes if limits else 0, what)
        )
        event = await sessions_made(self._stream, outcome)
        session = AsyncSession(self._stub, self._stream, Progress.of(event.opened))
        self._stream.limits = session.limits
        return session
