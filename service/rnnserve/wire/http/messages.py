"""The protocol's messages as JSON objects, as Triton writes them: every field by its name in the
contract, enums by name, integers as numbers. (protobuf's own JSON makes strings of 64 bits.)
"""

import base64
from typing import Any

from google.protobuf.message import Message

from rnnserve.triton import grpc_service_pb2 as wire


def plain(message: Message) -> dict[str, object]:
    """The message as an object; what may be absent and is, is left out."""
    found: dict[str, object] = {}
    for field in message.DESCRIPTOR.fields:
        if field.has_presence and not message.HasField(field.name):
            continue
        value = getattr(message, field.name)
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            inner = field.message_type.fields_by_name["value"]
            found[field.name] = {str(key): _plain(inner, value[key]) for key in sorted(value)}
        elif field.is_repeated:
            found[field.name] = [_plain(field, element) for element in value]
        else:
            found[field.name] = _plain(field, value)
    return found


def _plain(field: Any, value: object) -> object:
    if isinstance(value, Message):
        return plain(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if field.enum_type is not None and isinstance(value, int):
        known = field.enum_type.values_by_number.get(value)
        return known.name if known is not None else value
    return value


def parameter_value(parameter: wire.InferParameter) -> object:
    """The value itself; null where there is none."""
    choice = parameter.WhichOneof("parameter_choice")
    return getattr(parameter, choice) if choice else None
