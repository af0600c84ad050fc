"""Which server a command talks to: the options that all of them share."""

from dataclasses import dataclass
from typing import Annotated

from cyclopts import Parameter


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


LOCAL = Target()
