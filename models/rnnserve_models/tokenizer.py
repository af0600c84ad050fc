"""One token for one character, as a `tokenizers` file that any language can load."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

UNKNOWN = "\ufffd"
"""Token 0 stands for every character that the training text does not have."""

_PIECE_CHARACTERS = 4096


def character_tokenizer(text: str) -> Tokenizer:
    """A tokenizer over the sorted characters of `text`; token 0 is the replacement character."""
    characters = [UNKNOWN, *sorted(set(text) - {UNKNOWN})]
    vocabulary = {character: token for token, character in enumerate(characters)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    return tokenizer


def encode(tokenizer: Tokenizer, text: str) -> npt.NDArray[np.int64]:
    """The text's tokens (N,) int64, one for each character."""
    # Pieces, because the library's time grows faster than the length of a text.
    starts = range(0, len(text), _PIECE_CHARACTERS)
    pieces = [text[start : start + _PIECE_CHARACTERS] for start in starts]
    encodings = tokenizer.encode_batch_fast(pieces, add_special_tokens=False)
    if not encodings:
        return np.zeros(0, np.int64)
    return np.concatenate([np.asarray(encoding.ids, np.int64) for encoding in encodings])
