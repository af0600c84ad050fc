"""`rnnserve health`."""

from dataclasses import dataclass
from typing import Annotated

import grpc
from cyclopts import Parameter
from cyclopts.validators import Number
from grpc_health.v1 import health_pb2, health_pb2_grpc

from rnnserve.commands.target import LOCAL, Target
from rnnserve.errors import OperatorError

SERVING = health_pb2.HealthCheckResponse.SERVING
ServingStatus = health_pb2.HealthCheckResponse.ServingStatus


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class HealthOptions:
    """How long to ask."""

    timeout_s: Annotated[float, Parameter(validator=Number(gt=0))] = 5.0
    """Seconds to wait for the answer."""


DEFAULTS = HealthOptions()


def health(*, options: HealthOptions = DEFAULTS, server: Target = LOCAL) -> None:
    """Ask whether a running server takes new sessions.

    It asks as a probe does: by the standard gRPC health protocol, in plaintext. Where a server has
    TLS, ask its --health-port, or give --tls-ca. Prints SERVING and the exit status is 0; while the
    server loads or drains, or when nobody answers, it is 1.
    """
    with server.channel() as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        try:
            reply = stub.Check(health_pb2.HealthCheckRequest(), timeout=options.timeout_s)
        except grpc.RpcError as error:
            raise OperatorError(_why(server.target, options.timeout_s, error)) from None
    if reply.status != SERVING:
        name = ServingStatus.Name(reply.status)
        raise OperatorError(f"{server.target} is {name}: it loads its models, or it drains")
    print("SERVING")


def _why(target: str, timeout_s: float, error: grpc.RpcError) -> str:
    """What the silence means."""
    match error.code():
        case grpc.StatusCode.UNIMPLEMENTED:
            return f"{target} answers, but has no health service: is it rnnserve?"
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return f"no answer from {target} within {timeout_s:g} s"
        case _:
            return (
                f"no answer from {target}: is `rnnserve serve` running there? With TLS, ask the "
                f"plaintext --health-port ({error.details()})"
            )
