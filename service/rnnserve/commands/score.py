"""`rnnserve score`."""

import asyncio
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from cyclopts import Parameter
from cyclopts.validators import Number
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress

from rnnserve.client import AsyncClient, AsyncSession, Model
from rnnserve.commands.surprise import Surprise
from rnnserve.commands.target import LOCAL, Target
from rnnserve.errors import OperatorError
from rnnserve.repository.tokenizer import Tokenizer

CHUNK_STEPS = 256
ANSWER_BYTES = 4 << 20
"""A chunk's answer gets no larger than this, unless --chunk asks for it."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class ScoreOptions:
    """How the text is sent."""

    chunk: Annotated[int | None, Parameter(validator=Number(gte=1))] = None
    """Steps in one message; 256 or what the server takes, unless given. The figure is the same."""


@dataclass(frozen=True)
class Score:
    """What came out."""

    characters: int
    predictions: int
    predicted_characters: int
    nats: float
    """Sum over all predictions."""
    taken_s: float

    @property
    def nats_per_character(self) -> float:
        return self.nats / self.predicted_characters

    @property
    def bits_per_character(self) -> float:
        return self.nats_per_character / float(np.log(2))


DEFAULTS = ScoreOptions()


def score(
    model: str, file: Path, /, *, options: ScoreOptions = DEFAULTS, server: Target = LOCAL
) -> None:
    """Measure how well a model predicts a text.

    The text goes through one session, from a zero carry. The model sees every token but the last
    and predicts every one but the first; the figure is the mean of -log2 p, in float64.

    Parameters
    ----------
    model: str
        Name of a model that predicts tokens and has a tokenizer.
    file: Path
        UTF-8 text.
    """
    text = read_text(file)
    with server.reached():
        scored = asyncio.run(score_text(server, model, text, options.chunk))
    print(f"{scored.bits_per_character:.4f} bits per character", end=" ")
    print(f"({scored.nats_per_character:.4f} nats)")
    rate = scored.characters / scored.taken_s
    print(f"{scored.characters:,} characters in {scored.taken_s:.2f} s, {rate:,.0f} characters/s")
    if scored.predictions != scored.predicted_characters:
        print(
            f"{scored.predictions:,} tokens predicted, {scored.nats / scored.predictions:.4f} "
            "nats per token"
        )


def read_text(file: Path) -> str:
    """The file exactly, with its own line ends; raises OperatorError."""
    try:
        return file.read_bytes().decode("utf-8")
    except OSError as error:
        raise OperatorError(f"{file}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise OperatorError(f"{file}: not UTF-8 text: byte {error.start} is wrong") from None


async def score_text(server: Target, model: str, text: str, chunk: int | None) -> Score:
    """Raises OperatorError for a text or a model that can't be scored, and ServerError."""
    async with AsyncClient(server.target, credentials=server.credentials) as client:
        described = await client.describe(model)
        vocabulary = vocabulary_of(described)
        tokens, first = encoded(Tokenizer(described.tokenizer_json), text, vocabulary)
        surprise = Surprise(tokens[1:])
        async with client.open(model, described.version) as session:
            began_s = time.perf_counter()
            steps = chunk_steps(session, chunk)
            with _bar() as bar:
                task = bar.add_task(model, total=len(tokens) - 1)
                async for logits in session.steps(chunks(tokens[:-1], steps)):
                    surprise.add(logits)
                    bar.advance(task, len(logits))
            nats = surprise.nats()
            taken_s = time.perf_counter() - began_s
    return Score(len(text), len(tokens) - 1, len(text) - first, nats, taken_s)


def vocabulary_of(model: Model) -> int:
    """Tokens that the model tells apart; OperatorError when it doesn't predict tokens."""
    one_each = len(model.inputs) == len(model.outputs) == 1
    if (
        not one_each
        or model.inputs[0].dtype.kind not in "iu"
        or model.inputs[0].shape != ()
        or model.outputs[0].dtype.kind != "f"
        or len(model.outputs[0].shape) != 1
    ):
        inputs, outputs = (", ".join(map(str, side)) for side in (model.inputs, model.outputs))
        raise OperatorError(
            f"{model.name} does not predict tokens: it takes {inputs} and gives {outputs}; "
            "a score needs one whole number in and one row of scores out"
        )
    if not model.tokenizer_json:
        raise OperatorError(f"{model.name} has no tokenizer: put a tokenizer.json beside its graph")
    return model.outputs[0].shape[0]


def encoded(tokenizer: Tokenizer, text: str, vocabulary: int) -> tuple[NDArray[np.int64], int]:
    """The text's tokens  # (n,), and how many characters the first one stands for."""
    tokens = np.array(tokenizer.encode(text), np.int64)
    if len(text) < 2 or len(tokens) < 2:
        raise OperatorError("the file is too short: a score needs two characters at least")
    if tokens.max() >= vocabulary:
        raise OperatorError(f"the tokenizer gives token {tokens.max()}, the model has {vocabulary}")
    lost = [one for one in sorted(set(text)) if _there_and_back(tokenizer, one) != one]
    if lost:
        print(
            f"rnnserve: the model's tokenizer has no {''.join(lost[:10])!r}; the figure is about "
            "what it made of the text",
            file=sys.stderr,
        )
    return tokens, max(1, len(_decoded(tokenizer, [int(tokens[0])])))


def chunk_steps(session: AsyncSession, asked: int | None) -> int:
    """Steps of one message; OperatorError when the server takes fewer than were asked for."""
    limit = session.limits.max_chunk_steps
    if asked is None:
        return max(1, min(CHUNK_STEPS, limit, ANSWER_BYTES // session.outputs[0].step_bytes))
    if asked > limit:
        raise OperatorError(f"--chunk {asked}: the server takes {limit} steps in one message")
    return asked


def chunks(tokens: NDArray[np.int64], steps: int) -> Iterator[NDArray[np.int64]]:
    for begin in range(0, len(tokens), steps):
        yield tokens[begin : begin + steps]


def _there_and_back(tokenizer: Tokenizer, text: str) -> str:
    return _decoded(tokenizer, tokenizer.encode(text))


def _decoded(tokenizer: Tokenizer, tokens: list[int]) -> str:
    decoder = tokenizer.decoder()
    return "".join(map(decoder.push, tokens)) + decoder.flush()


def _bar() -> Progress:
    console = Console(stderr=True)
    return Progress(console=console, transient=True, disable=not console.is_terminal)
