"""The client without asyncio: every operation is a call of its own, and waits for its answer."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self, Unpack

import grpc

from rnnserve.client.carry import Carry, initial_carry
from rnnserve.client.channel import DESCRIBE_TIMEOUT_S, NO_COMPRESSION, options_for
from rnnserve.client.codec import Tensor
from rnnserve.client.errors import ServerError, from_rpc_error
from rnnserve.client.facts import Audit, Model, Models, read_audit, read_model, read_models
from rnnserve.client.generation import Prompt, Sampling, generate_request
from rnnserve.client.outcome import event_of, outcome_of
from rnnserve.client.plain_generation import Generation
from rnnserve.client.plain_session import Session, exchange
from rnnserve.client.progress import Progress, importing, opening, other_carry
from rnnserve.repository.tokenizer import Tokenizer
from rnnserve.v1 import rnnserve_pb2 as pb
from rnnserve.v1 import rnnserve_pb2_grpc as rpc


class Client:
    """A connection to a server.

        with Client("localhost:8001") as client:
            with client.open("letters") as session:
                logits = session.step([4, 7, 1])  # (3, V)

    Different threads may use one client, each with sessions of its own. Who needs many steps a
    second takes AsyncClient, whose sessions share frames, and which hears when the server is about
    to stop: this one learns it when it opens (draining). Every method raises ServerError;
    `credentials` turns on TLS, where the server's certificate is for `server_name`, or else for the
    target's; `timeout_s` bounds every operation of a session.
    """

    def __init__(
        self,
        target: str,
        *,
        credentials: grpc.ChannelCredentials | None = None,
        server_name: str | None = None,
        timeout_s: float | None = None,
    ) -> None:
        options = options_for(server_name)
        if credentials is None:
            self._channel = grpc.insecure_channel(
                target, options=options, compression=NO_COMPRESSION
            )
        else:
            self._channel = grpc.secure_channel(
                target, credentials, options=options, compression=NO_COMPRESSION
            )
        self._stub = rpc.RnnServeStub(self._channel)
        self._timeout_s = timeout_s
        self._carries: dict[tuple[str, int], tuple[Tensor, ...]] = {}

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
    def open(
        self,
        model: str,
        version: int = 0,
        *,
        carry: Carry | None = None,
        seed: int | None = None,
        scale: float | None = None,
    ) -> Iterator[Session]:
        """A session, closed on leaving; version 0 is the newest.

        It begins with zeros, with `carry` (all of `Model.carry` by name, without rows), or at
        random from `seed`, with standard deviation `scale` (1). What the model's carry is, the
        first call with one asks the server.

        Raises BadInput (bad_carry) before anything is opened.
        """
        with self._opened(model, version, carry, seed, scale) as session:
            yield session

    @contextmanager
    def restore(self, model: str, blob: bytes, version: int = 0) -> Iterator[Session]:
        """A new session from what `export` gave, with its index; closed on leaving."""
        with self._made(importing(model, version, blob)) as session:
            yield session

    def generate(
        self,
        model: str,
        prompt: Prompt,
        version: int = 0,
        **sampling: Unpack[Sampling],
    ) -> Generation:
        """Text or tokens after a prompt; see `Sampling` for what can be asked."""
        return Generation(self._stub, generate_request(model, version, prompt, sampling))

    def audit(self) -> Audit:
        """Has the server hold its tables against each other."""
        try:
            return read_audit(self._stub.Audit(pb.AuditRequest(), timeout=DESCRIBE_TIMEOUT_S))
        except grpc.RpcError as error:
            raise from_rpc_error(error) from None

    def _models(self, timeout_s: float, wait_for_ready: bool) -> Models:
        try:
            return read_models(
                self._stub.ListModels(
                    pb.ListModelsRequest(), timeout=timeout_s, wait_for_ready=wait_for_ready
                )
            )
        except grpc.RpcError as error:
            raise from_rpc_error(error) from None

    def _opened(
        self,
        model: str,
        version: int,
        carry: Carry | None,
        seed: int | None,
        scale: float | None,
    ) -> Session:
        if carry is None:
            return self._made(opening(model, version, initial_carry(None, seed, scale, ())))
        known = self._carry_of(model, version)
        try:
            session = self._made(opening(model, version, initial_carry(carry, seed, scale, known)))
            if session.carry != known:
                session.leave()
                raise other_carry(model, session.version)
        except ServerError:
            # What was known may be that of an older version.
            self._carries.pop((model, version), None)
            raise
        return session

    def _carry_of(self, model: str, version: int) -> tuple[Tensor, ...]:
        if (known := self._carries.get((model, version))) is None:
            known = self._carries[model, version] = self.describe(model, version).carry
        return known

    def _made(self, operation: pb.Operation) -> Session:
        event = event_of(outcome_of(exchange(self._stub, operation, self._timeout_s)))
        return Session(self._stub, Progress.of(event.opened), self._timeout_s)
