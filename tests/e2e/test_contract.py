"""Our contract of the Open Inference Protocol against the one that tritonclient was made from."""

from collections.abc import Iterator

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FileDescriptorProto,
)

from peers.triton_peer import TritonPeer
from rnnserve.triton import grpc_service_pb2, model_config_pb2


def facts(file: FileDescriptorProto) -> Iterator[str]:
    """Everything that the wire and a config.pbtxt depend on, a line each."""
    yield f"package {file.package}, {file.syntax}"
    for message in file.message_type:
        yield from message_facts(message, "")
    for enum in file.enum_type:
        yield from enum_facts(enum, "")
    for service in file.service:
        for call in service.method:
            streams = call.client_streaming, call.server_streaming
            yield f"{service.name}/{call.name}: {call.input_type}, {call.output_type}, {streams}"


def message_facts(message: DescriptorProto, scope: str) -> Iterator[str]:
    name = scope + message.name
    yield f"message {name}, {message.options}"
    for field in message.field:
        oneof = ""
        if field.HasField("oneof_index"):
            oneof = message.oneof_decl[field.oneof_index].name
            field.ClearField("oneof_index")
        yield f"{name}.{field.name} of {oneof}: {field}"
    for nested in message.nested_type:
        yield from message_facts(nested, f"{name}.")
    for enum in message.enum_type:
        yield from enum_facts(enum, f"{name}.")


def enum_facts(enum: EnumDescriptorProto, scope: str) -> Iterator[str]:
    for value in enum.value:
        yield f"{scope}{enum.name}.{value.name} = {value.number}"


def test_every_name_number_and_type_is_tritonclients() -> None:
    ours = [module.DESCRIPTOR.serialized_pb for module in (model_config_pb2, grpc_service_pb2)]
    with TritonPeer("127.0.0.1:1") as peer:
        theirs = peer.contract()
    for mine, other in zip(ours, theirs, strict=True):
        mine_facts, other_facts = (
            set(facts(FileDescriptorProto.FromString(each))) for each in (mine, other)
        )
        assert len(mine_facts) > 100
        assert mine_facts == other_facts
