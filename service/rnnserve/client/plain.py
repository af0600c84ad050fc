"""The client without asyncio: every operation is a call of its own, and waits for its answer."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from types import TracebackType
from typing import Self, Unpack

import grpc
from numpy.typing import ArrayLike

from rnnserve.client.channel import (
    CLOSE_TIMEOUT_S,
    DESCRIBE_TIMEOUT_S,
    NO_COMPRESSION,
    OPTIONS,
    broke_off,
)
from rnnserve.client.errors import ServerError, from_rpc_error
from rnnserve.client.facts import Model, Models, read_model, read_models
from rnnserve.client.frames import UNTOLD_FRAME_BYTES, take_frame
from rnnserve.client.generation import (
    End,
    Piece,
    Sampling,
    generate_request,
    read_end,
    read_piece,
)
from rnnserve.client.progress import Answer, Chunk, Progress, checked, opening
from rnnserve.repository.tokenizer import Tokenizer
from rnnserve.v1 import rnnserve_pb2 as pb
from rnnserve.v1 import rnnserve_pb2_grpc as rpc


class Client:
    """A connection to a server.

        with Client("localhost:8001") as client:
            with client.open("letters") as session:
                logits = session.step([4, 7, 1])  # (3, V)

    Different threads may use one client, each with sessions of its own. Who needs many steps a
    second takes AsyncClient, whose sessions share frames. Every method raises ServerError;
    `credentials` turns on TLS; `timeout_s` bounds every operation of a session.
    """

    def __init__(
        self,
        target: str,
        *,
        credentials: grpc.ChannelCredentials | None = None,
        timeout_s: float | None = None,
    ) -> None:
        if credentials is None:
            self._channel = grpc.insecure_channel(
                target, options=OPTIONS, compression=NO_COMPRESSION
            )
        else:
            self._channel = grpc.secure_channel(
                target, credentials, options=OPTIONS, compression=NO_COMPRESSION
            )
        self._stub = rpc.RnnServeStub(self._channel)
        self._timeout_s = timeout_s

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connection; what is under way in other threads fails."""
        self._channel.close()

    def wait_ready(self, timeout_s: float) -> None:
        """Returns when the server answers; raises ServerError (transport) after `timeout_s`."""
        self._models(timeout_s, wait_for_ready=True)

    def models(self) -> Models:
        """Every model the server has, without the tokenizers."""
        return self._models(DESCRIBE_TIMEOUT_S, wait_for_ready=False)

    def describe(self, name: str, version: int = 0) -> Model:
        """One model, whole; version 0 is the newest that is ready."""
        request = pb.DescribeModelRequest(model=name, version=version)
        try:
            return read_model(self._stub.DescribeModel(request, timeout=DESCRIBE_TIMEOUT_S))
        except grpc.RpcError as error:
            raise from_rpc_error(error) from None

    def tokenizer(self, name: str, version: int = 0) -> Tokenizer | None:
        """The model's own tokenizer; None where it has none."""
        json = self.describe(name, version).tokenizer_json
        return Tokenizer(json) if json else None

    @contextmanager
    def open(self, model: str, version: int = 0) -> Iterator["Session"]:
        """A session from a zero carry, closed on leaving; version 0 is the newest."""
        frame = pb.OperationFrame(operations=[opening(model, version)])
        event = checked(exchange(self._stub, frame, self._timeout_s)[0])
        session = Session(self._stub, Progress(event.opened), self._timeout_s)
        try:
            yield session
        finally:
            session.leave()

    def generate(
        self,
        model: str,
        prompt: str | Sequence[int],
        version: int = 0,
        **sampling: Unpack[Sampling],
    ) -> "Generation":
        """Text or tokens after a prompt; see `Sampling` for what can be asked."""
        return Generation(self._stub, generate_request(model, version, prompt, sampling))

    def _models(self, timeout_s: float, wait_for_ready: bool) -> Models:
        try:
            return read_models(
                self._stub.ListModels(
                    pb.ListModelsRequest(), timeout=timeout_s, wait_for_ready=wait_for_ready
                )
            )
        except grpc.RpcError as error:
            raise from_rpc_error(error) from None


class Session:
    """One session: a model's carry on the server, and the index of the next step."""

    def __init__(self, stub: rpc.RnnServeStub, progress: Progress, timeout_s: float | None) -> None:
        self.id = progress.id
        self.version = progress.version
        self.inputs = progress.inputs
        self.outputs = progress.outputs
        self.limits = progress.limits
        self._stub = stub
        self._progress = progress
        self._timeout_s = timeout_s
        self._left = False

    @property
    def index(self) -> int:
        """The index of the next step: how many the session has taken."""
        return self._progress.index

    def step(self, *arrays: ArrayLike) -> Answer:
        """Takes a chunk of T >= 1 steps, one array an input, each (T, *shape).

        Returns (T, *shape) of the output, or a dict of them by name when the model has several.
        A single step may leave T out; numbers and lists of Python are taken where nothing is lost.

        Raises BadInput for arrays that don't fit, and ServerError: the session then stands where
        the chunk began, so that the same chunk may be sent again.
        """
        return next(self._answers([arrays]))

    def steps(self, chunks: Iterable[ArrayLike | tuple[ArrayLike, ...]]) -> Iterator[Answer]:
        """The answers to chunks in their order, several chunks a message.

        A chunk is what `step` takes: an array, or a tuple of them when the model has several
        inputs. Raises as `step` does, at the chunk that failed.
        """
        each = (chunk if isinstance(chunk, tuple) else (chunk,) for chunk in chunks)
        while group := list(islice(each, max(1, self.limits.max_pending_chunks))):
            yield from self._answers(group)

    def close(self) -> int:
        """Ends the session; returns how many steps it took."""
        return self._close(self._timeout_s)

    def leave(self) -> None:
        """Closes, whatever the server says: the session is over for us either way."""
        if not self._left:
            with suppress(ServerError):
                self._close(CLOSE_TIMEOUT_S)

    def _answers(self, group: Iterable[Sequence[ArrayLike]]) -> Iterator[Answer]:
        """The answers to chunks that may be under way at once."""
        encoded = [self._progress.encode(arrays) for arrays in group]
        chunks = deque(map(self._progress.begin, encoded))
        try:
            for event in self._exchanged(chunks):
                yield self._progress.answer(chunks[0], event)
                chunks.popleft()
        finally:
            if chunks:
                self._progress.failed(chunks[0])

    def _exchanged(self, chunks: Iterable[Chunk]) -> Iterator[pb.Event]:
        limit = self.limits.max_frame_bytes or UNTOLD_FRAME_BYTES
        waiting = deque(chunk.operation for chunk in chunks)
        while waiting:
            frame = take_frame(waiting, limit)
            try:
                yield from exchange(self._stub, frame, self._timeout_s)
            except ServerError as error:
                if not broke_off(error):
                    raise
                # The same indices: what the server has taken already it only answers again.
                yield from exchange(self._stub, frame, self._timeout_s)

    def _close(self, timeout_s: float | None) -> int:
        self._left = True
        frame = pb.OperationFrame(operations=[self._progress.closing()])
        return checked(exchange(self._stub, frame, timeout_s)[0]).closed.steps


class Generation:
    """One generation, read once; leaving the loop early cancels it.

    generation = client.generate("letters", "ROMEO:", max_tokens=100)
    for piece in generation:
        print(piece.text, end="", flush=True)
    print(generation.end.seed)
    """

    end: End | None = None
    """How it ended; None before that."""

    def __init__(self, stub: rpc.RnnServeStub, request: pb.GenerateRequest) -> None:
        self._stub = stub
        self._request = request

    def __iter__(self) -> Iterator[Piece]:
        call = self._stub.Generate(self._request)
        try:
            for reply in call:
                self.end = read_end(reply)
                if piece := read_piece(reply):
                    yield piece
        except grpc.RpcError as error:
            raise from_rpc_error(error) from None
        finally:
            call.cancel()


def exchange(
    stub: rpc.RnnServeStub, frame: pb.OperationFrame, timeout_s: float | None
) -> list[pb.Event]:
    """The events that answer a frame's operations, in their order."""
    for number, operation in enumerate(frame.operations):
        operation.id = number
    try:
        events = stub.Exchange(frame, timeout=timeout_s).events
    except grpc.RpcError as error:
        raise from_rpc_error(error) from None
    return sorted(events, key=lambda event: event.id)
