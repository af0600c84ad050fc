"""A prompt in, pieces of text out: what both clients say and read."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

from rnnserve.client.errors import BadInput
from rnnserve.errors import Reason
from rnnserve.v1 import rnnserve_pb2 as pb


class Sampling(TypedDict, total=False):
    """How the next token is chosen; what is left out is the server's choice."""

    max_tokens: int
    temperature: float
    """At 0 the likeliest token is taken every time."""
    top_k: int
    top_p: float
    seed: int | None
    """The same seed, prompt and model give the same text."""
    stop: Sequence[str]
    """Generation ends before the first of these texts."""


@dataclass(frozen=True)
class Piece:
    """Tokens made since the last piece; `text` may lag behind where a character spans tokens."""

    tokens: tuple[int, ...]
    text: str


@dataclass(frozen=True)
class End:
    """How a generation ended: `cause` is "max_tokens", "stop_text" or "drained"."""

    cause: str
    prompt_tokens: int
    generated_tokens: int
    seed: int


def generate_request(
    model: str, version: int, prompt: str | Sequence[int], sampling: Sampling
) -> pb.GenerateRequest:
    """Raises BadInput for values that don't fit into the message at all."""
    request = pb.GenerateRequest(model=model, version=version)
    stop = sampling.get("stop", ())
    try:
        request.sampling.CopyFrom(
            pb.Sampling(
                max_tokens=sampling.get("max_tokens", 0),
                temperature=sampling.get("temperature"),
                top_k=sampling.get("top_k", 0),
                top_p=sampling.get("top_p"),
                seed=sampling.get("seed"),
                stop=[stop] if isinstance(stop, str) else stop,
            )
        )
    except (TypeError, ValueError) as error:
        raise BadInput(Reason.BAD_SAMPLING, f"sampling: {error}") from None
    if isinstance(prompt, str):
        request.text = prompt
    else:
        request.tokens.ids.extend(prompt)
    return request


def read_piece(reply: pb.GenerateReply) -> Piece | None:
    """None where a message brings nothing but the end."""
    if not reply.tokens and not reply.text:
        return None
    return Piece(tuple(reply.tokens), reply.text)


def read_end(reply: pb.GenerateReply) -> End | None:
    if not reply.HasField("end"):
        return None
    end = reply.end
    return End(_cause(end.cause), end.prompt_tokens, end.generated_tokens, end.seed)


def _cause(number: int) -> str:
    causes = pb.GenerateEnd.DESCRIPTOR.enum_types_by_name["Cause"].values_by_number
    # A newer server may know causes that this client doesn't.
    return causes[number].name.lower() if number in causes else f"cause_{number}"
