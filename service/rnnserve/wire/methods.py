"""A service's methods as gRPC handlers, built from its contract's descriptor.

The generated registration would do, but for bytes that are no message: gRPC then answers by itself,
with the exception's text. Here they become `Malformed`, and the servicer refuses it by name.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

from rnnserve.errors import Reason, Refusal
from rnnserve.triton import grpc_service_pb2
from rnnserve.v1 import rnnserve_pb2

SERVICE = rnnserve_pb2.DESCRIPTOR.services_by_name["RnnServe"]
INFERENCE = grpc_service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]

_HANDLERS = {
    (False, False): grpc.unary_unary_rpc_method_handler,
    (False, True): grpc.unary_stream_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
}


class Malformed:
    """Stands for bytes that are not the message the contract says."""


@dataclass(frozen=True)
class Oversized:
    """A message over the limit; it was read all the same, so that it can be refused by name."""

    message: Any
    size_bytes: int
    limit_bytes: int

    def refusal(self) -> Refusal:
        return Refusal(
            Reason.FRAME_TOO_LARGE,
            f"a message of {self.size_bytes} bytes; at most {self.limit_bytes}",
            limit=self.limit_bytes,
        )


def register(
    service: ServiceDescriptor, servicer: object, server: grpc.aio.Server, max_frame_bytes: int
) -> None:
    """Serve every method of a contract with the servicer's method of that name."""
    handlers = {}
    for method in service.methods:
        handler = _HANDLERS[method.client_streaming, method.server_streaming]
        handlers[method.name] = handler(
            getattr(servicer, method.name),
            request_deserializer=_parser(GetMessageClass(method.input_type), max_frame_bytes),
            response_serializer=GetMessageClass(method.output_type).SerializeToString,
        )
    generic = grpc.method_handlers_generic_handler(service.full_name, handlers)
    server.add_generic_rpc_handlers((generic,))


def well_formed(message: Any) -> None:
    """Raises Refusal (malformed, frame_too_large) for a message that could not be parsed, or is
    over the limit."""
    if isinstance(message, Malformed):
        raise Refusal(Reason.MALFORMED, "the bytes are not a message of this method")
    if isinstance(message, Oversized):
        raise message.refusal()


def _parser(kind: Any, max_frame_bytes: int) -> Callable[[bytes], Any]:
    def parse(data: bytes) -> Any:
        try:
            message = kind.FromString(data)
        except DecodeError:
            return Malformed()
        # Here the size costs nothing; a message would be encoded again to tell it.
        if len(data) > max_frame_bytes:
            return Oversized(message, len(data), max_frame_bytes)
        return message

    return parse
