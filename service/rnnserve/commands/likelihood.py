"""How likely the tokens of a generation were, as a table."""

import math
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from rnnserve.client import Piece
from rnnserve.repository.tokenizer import Tokenizer


def show_likelihood(console: Console, pieces: Sequence[Piece], tokenizer: Tokenizer | None) -> None:
    """One line a token: what it reads, its probability in per cent and its logarithm."""
    table = Table("", "token", "text", "p", "ln p")
    for number in (0, 1, 3, 4):
        table.columns[number].justify = "right"
    told = [pair for piece in pieces for pair in zip(piece.tokens, piece.logprobs, strict=False)]
    for place, (token, logprob) in enumerate(told, start=1):
        cells = (
            str(place),
            str(token),
            repr(_read(tokenizer, token)) if tokenizer else "",
            f"{math.exp(logprob):.2%}",
            f"{logprob:.3f}",
        )
        table.add_row(*map(Text, cells))
    console.print(table)
    if told:
        mean = sum(logprob for _, logprob in told) / len(told)
        console.print(Text(f"mean ln p {mean:.3f}, perplexity {math.exp(-mean):.4g}"))


def _read(tokenizer: Tokenizer, token: int) -> str:
    """The token's own text; U+FFFD for one that is part of a character."""
    decoder = tokenizer.decoder()
    return decoder.push(token) + decoder.flush()
