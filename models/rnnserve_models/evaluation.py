"""How well a model predicts a text, in nats per character; always float32, summed in float64.

Every figure is the mean over all characters but the first, each predicted from those before it.
They differ in how far back the model may remember.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rnnserve_models.language_model import LanguageModel
from rnnserve_models.windows import Tokens

_CHUNK_STEPS = 512
_ROWS = 64


@dataclass(frozen=True)
class Score:
    """A mean negative log-likelihood."""

    nats_per_character: float

    @property
    def bits_per_character(self) -> float:
        """The same in bits."""
        return self.nats_per_character / math.log(2)


OnCharacters = Callable[[int], None]
"""Called with the number of characters just scored; it may raise to stop the scoring."""


def _ignore(_characters: int) -> None: ...


def streamed(model: LanguageModel, tokens: Tokens, on_characters: OnCharacters = _ignore) -> Score:
    """Tokens (N,), N >= 2: one carry, from zero before the first character to the last."""
    text = torch.from_numpy(tokens)[None]  # (1, N)
    return Score(_summed_nats(model, text, on_characters) / (len(tokens) - 1))


def reset_every(
    model: LanguageModel, tokens: Tokens, window: int, on_characters: OnCharacters = _ignore
) -> Score:
    """Tokens (N,), N >= 2: the initial carry again after every `window` predictions."""
    text = torch.from_numpy(tokens)
    whole = (len(text) - 1) // window
    rows = text[: whole * window + 1].unfold(0, window + 1, window) if whole else text[:0]
    nats = 0.0
    for first in range(0, len(rows), _ROWS):
        nats += _summed_nats(model, rows[first : first + _ROWS], on_characters)
    rest = text[whole * window :]
    if len(rest) > 1:
        nats += _summed_nats(model, rest[None], on_characters)
    return Score(nats / (len(tokens) - 1))


def estimated(model: LanguageModel, tokens: Tokens, limit: int = 64 * 512) -> Score:
    """About the streamed figure and much quicker: the first `limit` characters in 64 lanes."""
    text = torch.from_numpy(tokens[:limit])
    rows = max(1, min(_ROWS, (len(text) - 1) // _CHUNK_STEPS))
    length = (len(text) - 1) // rows
    lanes = text[: rows * length + 1].unfold(0, length + 1, length)  # (B, T + 1)
    return Score(_summed_nats(model, lanes, _ignore) / (rows * length))


@torch.inference_mode()
def _summed_nats(model: LanguageModel, rows: Tensor, on_characters: OnCharacters) -> float:
    """Rows (B, T + 1): the sum over all T predictions, the carry kept along each row."""
    was_training, threads = model.training, torch.get_num_threads()
    model.eval()
    # The products of so few rows are too small to share: a second thread only waits.
    torch.set_num_threads(1)
    try:
        carry, nats = model.initial_carry(len(rows)), 0.0
        for start in range(0, rows.shape[1] - 1, _CHUNK_STEPS):
            chunk = rows[:, start : start + _CHUNK_STEPS + 1]  # (B, T + 1)
            carry, logits = model(carry, chunk[:, :-1])  # (B, T, V)
            targets = chunk[:, 1:].flatten()
            losses = nn.functional.cross_entropy(
                logits.flatten(0, 1).double(), targets, reduction="sum"
            )
            nats += losses.item()
            on_characters(len(targets))
    finally:
        model.train(was_training)
        torch.set_num_threads(threads)
    return nats
