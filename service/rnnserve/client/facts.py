"""What a server says about its models and its limits."""

from dataclasses import dataclass

from rnnserve.client.codec import Tensor, read_tensor
from rnnserve.v1 import rnnserve_pb2 as pb


@dataclass(frozen=True)
class Limits:
    """What one session may ask for; see the contract for each."""

    max_chunk_steps: int
    max_pending_chunks: int
    kept_replies: int
    idle_timeout_s: float
    max_frame_bytes: int


@dataclass(frozen=True)
class Model:
    """One version of a model that is ready to be served."""

    name: str
    version: int
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    carry: tuple[Tensor, ...]
    carry_bytes: int
    """What one session keeps."""
    has_tokenizer: bool
    fingerprint: str
    """SHA-256 of the graph, hexadecimal."""
    card_json: str
    """The training card, or empty."""
    tokenizer_json: str
    """Only from `describe`; empty where there is none."""


@dataclass(frozen=True)
class BrokenModel:
    """A model on the server's disk that could not be loaded."""

    name: str
    version: int
    problem: str


@dataclass(frozen=True)
class Models:
    """All of them."""

    ready: tuple[Model, ...]
    broken: tuple[BrokenModel, ...]


def read_limits(message: pb.Limits) -> Limits:
    return Limits(
        max_chunk_steps=message.max_chunk_steps,
        max_pending_chunks=message.max_pending_chunks,
        kept_replies=message.kept_replies,
        idle_timeout_s=message.idle_timeout_s,
        max_frame_bytes=message.max_frame_bytes,
    )


def read_model(message: pb.ModelDescription) -> Model:
    return Model(
        name=message.model,
        version=message.version,
        inputs=tuple(map(read_tensor, message.inputs)),
        outputs=tuple(map(read_tensor, message.outputs)),
        carry=tuple(map(read_tensor, message.carry)),
        carry_bytes=message.carry_bytes,
        has_tokenizer=message.has_tokenizer,
        fingerprint=message.fingerprint,
        card_json=message.card_json,
        tokenizer_json=message.tokenizer_json,
    )


def read_models(message: pb.ListModelsReply) -> Models:
    return Models(
        ready=tuple(map(read_model, message.models)),
        broken=tuple(
            BrokenModel(broken.model, broken.version, broken.problem) for broken in message.broken
        ),
    )
