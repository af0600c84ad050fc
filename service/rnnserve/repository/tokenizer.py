"""Text to token ids and back, from a `tokenizer.json` (the format of the tokenizers library)."""

from collections.abc import Callable
from itertools import chain

import tokenizers
from tokenizers.decoders import DecodeStream

from rnnserve.errors import ModelProblem

# The library's cost for one text grows faster than its length.
PIECE_CHARACTERS = 4096


class Tokenizer:
    """A tokenizer that belongs to a model; remembers nothing between calls."""

    def __init__(self, json: str) -> None:
        """Raises ModelProblem when `json` is not a tokenizer."""
        try:
            self._tokenizer = tokenizers.Tokenizer.from_str(json)
        except Exception as error:  # the library raises nothing narrower
            raise ModelProblem(f"tokenizer.json: {error}") from None
        self.json = json

    @property
    def vocabulary_size(self) -> int:
        return self._tokenizer.get_vocab_size()

    def encode(self, text: str) -> list[int]:
        """Token ids of a text of any length.

        A long text is encoded in pieces that end after a line, which only a tokenizer with tokens
        across lines could tell.
        """
        pieces = self._tokenizer.encode_batch_fast(_pieces(text), add_special_tokens=False)
        return list(chain.from_iterable(piece.ids for piece in pieces))

    def decoder(self) -> Callable[[int], str]:
        """A function for one generation: token by token to the text that became certain with it."""
        stream = DecodeStream(skip_special_tokens=False)

        def decode(token: int) -> str:
            return stream.step(self._tokenizer, token) or ""

        return decode


def _pieces(text: str) -> list[str]:
    if len(text) <= PIECE_CHARACTERS:
        return [text]
    pieces, lines, size = [], [], 0
    for line in text.splitlines(keepends=True):
        lines.append(line)
        size += len(line)
        if size >= PIECE_CHARACTERS:
            pieces.append("".join(lines))
            lines, size = [], 0
    return [*pieces, "".join(lines)]
