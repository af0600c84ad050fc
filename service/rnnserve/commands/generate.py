"""`rnnserve generate`."""

import sys
import time
from dataclasses import dataclass
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number
from rich.console import Console

from rnnserve.client import End, Generation, Piece
from rnnserve.commands.likelihood import show_likelihood
from rnnserve.commands.target import LOCAL, Target

NotNegative = Parameter(validator=Number(gte=0))


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class GenerateOptions:
    """What the model goes on with, and how it chooses."""

    prompt: str
    """Text to go on with."""
    max_tokens: Annotated[int, NotNegative] = 256
    """Tokens to make, at most; 0 is the server's limit."""
    temperature: Annotated[float, NotNegative] = 1.0
    """Below 1 the likely becomes likelier; at 0 the likeliest token is taken every time."""
    top_k: Annotated[int, NotNegative] = 0
    """Choose among the K likeliest tokens only; 0 is all."""
    top_p: Annotated[float, Parameter(validator=Number(gt=0, lte=1))] = 1.0
    """Choose among the likeliest tokens that together have this probability."""
    seed: Annotated[int | None, NotNegative] = None
    """The same seed gives the same text again; drawn by the server unless given."""
    stop: Annotated[tuple[str, ...], Parameter(negative=())] = ()
    """End before this text; may be given several times."""
    stop_token: Annotated[tuple[int, ...], Parameter(negative=()), NotNegative] = ()
    """End with this token, which is still written; may be given several times."""
    repetition_penalty: Annotated[float, Parameter(validator=Number(gt=0))] = 1.0
    """Above 1, tokens that came before, in the prompt too, become less likely."""
    logprobs: Annotated[bool, Parameter(negative=())] = False
    """After the text, show on standard error how likely the model found each of its tokens, before
    temperature and all the rest."""
    quiet: Annotated[bool, Parameter(negative=())] = False
    """Write no summary to standard error."""


@dataclass(frozen=True)
class Written:
    """What came, and the seconds until the first of it."""

    first_s: float
    pieces: tuple[Piece, ...]


def generate(model: str, /, *, options: GenerateOptions, server: Target = LOCAL) -> None:
    """Let a model go on with a text.

    The text goes to standard output as it is made, a summary to standard error. The model's own
    scores decide, bent by --repetition-penalty, then by --temperature, then cut by --top-k and
    --top-p.

    Parameters
    ----------
    model: str
        Name of a model with a tokenizer.
    """
    with server.reached(), server.client() as client:
        generation = client.generate(
            model,
            options.prompt,
            max_tokens=options.max_tokens,
            temperature=options.temperature,
            top_k=options.top_k,
            top_p=options.top_p,
            seed=options.seed,
            stop=options.stop,
            stop_tokens=options.stop_token,
            repetition_penalty=options.repetition_penalty,
            logprobs=options.logprobs,
        )
        tokenizer = client.tokenizer(model) if options.logprobs else None
        began_s = time.perf_counter()
        try:
            written = _write(generation, began_s)
        finally:
            print(flush=True)
        taken_s = time.perf_counter() - began_s
    if options.logprobs:
        show_likelihood(Console(stderr=True), written.pieces, tokenizer)
    if not options.quiet and generation.end is not None:
        print(_summary(generation.end, written.first_s, taken_s), file=sys.stderr)


def _write(generation: Generation, began_s: float) -> Written:
    """Writes each piece as it comes."""
    first_s, pieces = None, []
    for piece in generation:
        first_s = first_s or time.perf_counter() - began_s
        pieces.append(piece)
        sys.stdout.write(piece.text)
        sys.stdout.flush()
    return Written(first_s or 0.0, tuple(pieces))


def _summary(end: End, first_s: float, taken_s: float) -> str:
    rate = end.generated_tokens / taken_s
    return (
        f"{end.generated_tokens} tokens, {rate:,.0f} tokens/s, first token {first_s * 1e3:.1f} ms, "
        f"seed {end.seed}, ended by {end.cause}"
    )
