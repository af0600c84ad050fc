"""Text to token ids and back, from a `tokenizer.json` (the format of the tokenizers library)."""

from itertools import chain

import tokenizers
from tokenizers.decoders import DecodeStream

from rnnserve.errors import ModelProblem

# The library's cost for one text grows faster than its length.
PIECE_CHARACTERS = 4096
# A character has four bytes at most, and a token one byte at least. What is still no character
# then is U+FFFD itself, the token of an unknown character.
MAX_CHARACTER_TOKENS = 4


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

    def decoder(self) -> "Decoder":
        """A decoder for one generation."""
        return Decoder(self._tokenizer)


class Decoder:
    """Token by token to the text that became certain with it."""

    def __init__(self, tokenizer: tokenizers.Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._stream = DecodeStream(skip_special_tokens=False)
        self._held: list[int] = []

    def push(self, token: int) -> str:
        """The text that is certain now; empty where the token might be part of a character."""
        self._held.append(token)
        text = self._stream.step(self._tokenizer, token)
        if text is not None:
            self._held.clear()
            return text
        return self.flush() if len(self._held) >= MAX_CHARACTER_TOKENS else ""

    def flush(self) -> str:
        """The text of what was held back, now that it won't become anything else."""
        held, self._held = self._held, []
        self._stream = DecodeStream(skip_special_tokens=False)
        return self._tokenizer.decode(held, skip_special_tokens=False) if held else ""


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
