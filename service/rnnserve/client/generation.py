"""A prompt in, pieces of text out: what both clients say and read."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

from rnnserve.client.errors import BadInput
from rnnserve.errors import Reason
from rnnserve.v1 import rnnserve_pb2 as pb

Prompt = str | Sequence[int]
"""Text for the model's own tokenizer, or tokens."""


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
    stop_tokens: Sequence[int]
    """Generation ends with the first of these tokens, which is sent."""
    repetition_penalty: float
    """Above 1, tokens that came before become less likely."""
    logprobs: bool
    """Whether the pieces say each token's log-probability."""


@dataclass(frozen=True)
class Piece:
    """Tokens made since the last piece; `text` may lag behind where a character spans tokens."""

    tokens: tuple[int, ...]
    text: str
    logprobs: tuple[float, ...] = ()
    """One a token, where asked for: ln p under the model alone, before any sampling."""


@dataclass(frozen=True)
class End:
    """How a generation ended: `cause` is "max_tokens", "stop_text" or "stop_token"."""

    cause: str
    prompt_tokens: int
    generated_tokens: int
    seed: int
    session_id: str = ""
    """The session or the fork that it moved; empty where it had one of its own."""
    index: int = 0
    """The index of that session's next step."""


def generate_request(
    model: str, version: int, prompt: Prompt, sampling: Sampling
) -> pb.GenerateRequest:
    """Raises BadInput for values that don't fit into the message at all."""
    request = pb.GenerateRequest(model=model, version=version)
    _put_sampling(request, sampling)
    _put_prompt(request, prompt)
    return request


def continue_request(
    session_id: str, prompt: Prompt, fork: bool, sampling: Sampling
) -> pb.GenerateRequest:
    """The same from a session on, where the prompt may be empty."""
    request = pb.GenerateRequest(session_id=session_id, fork=fork)
    _put_sampling(request, sampling)
    if len(prompt):
        _put_prompt(request, prompt)
    return request


def read_piece(reply: pb.GenerateReply) -> Piece | None:
    """None where a message brings nothing but the end."""
    if not reply.tokens and not reply.text:
        return None
    return Piece(tuple(reply.tokens), reply.text, tuple(reply.logprobs))


def read_end(reply: pb.GenerateReply) -> End | None:
    if not reply.HasField("end"):
        return None
    end = reply.end
    return End(
        cause=_cause(end.cause),
        prompt_tokens=end.prompt_tokens,
        generated_tokens=end.generated_tokens,
        seed=end.seed,
        session_id=end.session_id,
        index=end.index,
    )


def _put_prompt(request: pb.GenerateRequest, prompt: Prompt) -> None:
    if isinstance(prompt, str):
        request.text = prompt
    else:
        request.tokens.ids.extend(prompt)


def _put_sampling(request: pb.GenerateRequest, sampling: Sampling) -> None:
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
                stop_tokens=sampling.get("stop_tokens", ()),
                repetition_penalty=sampling.get("repetition_penalty"),
                logprobs=sampling.get("logprobs", False),
            )
        )
    except (TypeError, ValueError) as error:
        raise BadInput(Reason.BAD_SAMPLING, f"sampling: {error}") from None


def _cause(number: int) -> str:
    causes = pb.GenerateEnd.DESCRIPTOR.enum_types_by_name["Cause"].values_by_number
    # A newer server may know causes that this client doesn't.
    return causes[number].name.lower() if number in causes else f"cause_{number}"
