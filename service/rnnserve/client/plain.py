"""The client without asyncio: every operation is a call of its own, and waits for its answer."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
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
    telling,
)
from rnnserve.client.errors import ServerError, from_rpc_error
from rnnserve.client.facts import Model, Models, read_model, read_models
from rnnserve.client.generation import (
    End,
    Piece,
    Sampling,
    generate_request,
    read_end,
    read_piece,
)
from rnnserve.client.progress import Answer, Progress, checked, opening
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
        event = checked(exchange(self._stub, opening(model, version), self._timeout_s))
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
        chunk = self._progress.begin(self._progress.encode(arrays))
        try:
            return self._progress.answer(chunk, self._sent(chunk.operation))
        except BaseException:
            self._progress.failed(chunk)
            raise

    def steps(self, chunks: Iterable[ArrayLike | tuple[ArrayLike, ...]]) -> Iterator[Answer]:
        """The answers to chunks in their order.

        A chunk is what `step` takes: an array, or a tuple of them when the model has several
        inputs. Raises as `step` does, at the chunk that failed.
        """
        for chunk in chunks:
            yield self.step(*chunk if isinstance(chunk, tuple) else (chunk,))

    def close(self) -> int:
        """Ends the session; returns how many steps it took."""
        return self._close(self._timeout_s)

    def leave(self) -> None:
        """Closes, whatever the server says: the session is over for us either way."""
        if not self._left:
            with suppress(ServerError):
                self._close(CLOSE_TIMEOUT_S)

    def _sent(self, operation: pb.Operation) -> pb.Event:
        try:
            return exchange(self._stub, operation, self._timeout_s)
        except ServerError as error:
            if not broke_off(error):
                raise
            first = error
        # The same index: a step that the server has taken already it only answers again.
        try:
            return exchange(self._stub, operation, self._timeout_s)
        except ServerError as error:
            raise telling(first, error) from None

    def _close(self, timeout_s: float | None) -> int:
        self._left = True
        return checked(exchange(self._stub, self._progress.closing(), timeout_s)).closed.steps


class Generation:
    """One generation, read once.

        generation = client.generate("letters", "ROMEO:", max_tokens=100)
        for piece in generation:
            print(piece.text, end="", flush=True)
        print(generation.end.seed)

    Where the loop is left early, the server stops too.
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


def exchange(stub: rpc.RnnServeStub, operation: pb.Operation, timeout_s: float | None) -> pb.Event:
    """The event that answers the operation, in a call of its own."""
    frame = pb.OperationFrame(operations=[operation])
    try:
        (event,) = stub.Exchange(frame, timeout=timeout_s).events
    except grpc.RpcError as error:
        raise from_rpc_error(error) from None
    return event
