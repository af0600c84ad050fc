"""Which server a command talks to: the options that all of them share."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated

import grpc
from cyclopts import Parameter

from rnnserve.client import TRANSPORT, ServerError
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
                f"where else to look ({error.message})"
            ) from None


LOCAL = Target()
