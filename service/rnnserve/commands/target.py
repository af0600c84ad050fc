"""Which server a command talks to: the options that all of them share."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import grpc
from cyclopts import Parameter

from rnnserve.client import TRANSPORT, Client, ServerError
from rnnserve.errors import OperatorError


def host_and_port(kind: object, value: str) -> None:
    """Raises ValueError, which the command line shows with the option's name."""
    host, _, port = value.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) <= 65535:
        raise ValueError(f"{value!r} is not HOST:PORT, such as 127.0.0.1:8001.")


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Target:
    """The server."""

    target: Annotated[str, Parameter(validator=host_and_port)] = "127.0.0.1:8001"
    """HOST:PORT of the server."""
    tls_ca: Path | None = None
    """PEM file of the authorities that the server's certificate must come from: TLS."""
    tls_client_certificate: Path | None = None
    """PEM file of a certificate to show to the server, with --tls-client-key: mutual TLS."""
    tls_client_key: Path | None = None
    """PEM file of that certificate's private key."""

    @property
    def credentials(self) -> grpc.ChannelCredentials | None:
        """None: plaintext. Raises OperatorError where the files don't do."""
        certificate, key = self.tls_client_certificate, self.tls_client_key
        if (certificate is None) is not (key is None):
            raise OperatorError("--tls-client-certificate and --tls-client-key need each other")
        if self.tls_ca is None:
            if certificate is not None:
                raise OperatorError("--tls-client-certificate needs --tls-ca")
            return None
        return grpc.ssl_channel_credentials(
            _read("--tls-ca", self.tls_ca),
            None if key is None else _read("--tls-client-key", key),
            None if certificate is None else _read("--tls-client-certificate", certificate),
        )

    def channel(self) -> grpc.Channel:
        """For who speaks another contract than ours. Raises OperatorError."""
        if (credentials := self.credentials) is None:
            return grpc.insecure_channel(self.target)
        return grpc.secure_channel(self.target, credentials)

    def client(self) -> Client:
        """For who needs no asyncio. Raises OperatorError."""
        return Client(self.target, credentials=self.credentials)

    @contextmanager
    def reached(self) -> Iterator[None]:
        """Turns the silence of a server that isn't there into what to do about it."""
        try:
            yield
        except ServerError as error:
            if error.reason != TRANSPORT or error.code is not grpc.StatusCode.UNAVAILABLE:
                raise
            raise OperatorError(
                f"no answer from {self.target}: is `rnnserve serve` running there? --target says "
                f"where else to look, --tls-ca whom to trust ({error.message})"
            ) from None


def _read(option: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise OperatorError(f"{option} {path}: {error.strerror}") from None


LOCAL = Target()
