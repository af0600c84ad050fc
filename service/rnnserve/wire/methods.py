"""The service's methods as gRPC handlers, built from the contract's descriptor.

The generated registration would do, but for bytes that are no message: gRPC then answers by itself,
with the exception's text. Here they become `Malformed`, and the servicer refuses it by name.
"""

from collections.abc import Callable
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

from rnnserve.errors import Reason, Refusal
from rnnserve.v1 import rnnserve_pb2

SERVICE = rnnserve_pb2.DESCRIPTOR.services_by_name["RnnServe"]

_HANDLERS = {
    (False, False): grpc.unary_unary_rpc_method_handler,
    (False, True): grpc.unary_stream_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
}


class Malformed:
    """Stands for bytes that are not the message the contract says."""


def register(servicer: object, server: grpc.aio.Server) -> None:
    """Serve every method of the contract with the servicer's method of that name."""
    handlers = {}
    for method in SERVICE.methods:
        handler = _HANDLERS[method.client_streaming, method.server_streaming]
        handlers[method.name] = handler(
            getattr(servicer, method.name),
            request_deserializer=_parser(GetMessageClass(method.input_type)),
            response_serializer=GetMessageClass(method.output_type).SerializeToString,
        )
    generic = grpc.method_handlers_generic_handler(SERVICE.full_name, handlers)
    server.add_generic_rpc_handlers((generic,))


def well_formed(message: Any) -> None:
    """Raises Refusal (malformed) for a message that could not be parsed."""
    if isinstance(message, Malformed):
        raise Refusal(Reason.MALFORMED, "the bytes are not a message of this method")


def _parser(kind: Any) -> Callable[[bytes], Any]:
    def parse(data: bytes) -> Any:
        try:
            return kind.FromString(data)
        except DecodeError:
            return Malformed()

    return parse
