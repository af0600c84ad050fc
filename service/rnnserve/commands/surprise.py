"""What a row of predictions costs, summed over a text."""

import numpy as np
from numpy.typing import NDArray

ROWS_AT_ONCE = 1024


class Surprise:
    """Sum of -ln p of the tokens that came, over predictions as they arrive, in float64."""

    def __init__(self, tokens: NDArray[np.int64]) -> None:
        """`tokens` are those to be predicted, in order  # (n,)"""
        self._tokens = tokens
        self._seen = 0
        self._nats = 0.0
        # Rows one by one cost more in calls than in arithmetic.
        self._rows: list[NDArray[np.floating]] = []
        self._waiting = 0

    def add(self, logits: NDArray[np.floating]) -> None:
        """The next predictions  # (T, V)"""
        self._rows.append(logits)
        self._waiting += len(logits)
        if self._waiting >= ROWS_AT_ONCE:
            self._count()

    def nats(self) -> float:
        """The sum so far."""
        if self._waiting:
            self._count()
        return self._nats

    def _count(self) -> None:
        logits = np.concatenate(self._rows).astype(np.float64)  # (T, V)
        tokens = self._tokens[self._seen : self._seen + self._waiting]  # (T,)
        highest = logits.max(axis=1)
        normalizer = highest + np.log(np.exp(logits - highest[:, np.newaxis]).sum(axis=1))
        self._nats += float((normalizer - logits[np.arange(len(tokens)), tokens]).sum())
        self._seen += self._waiting
        self._rows, self._waiting = [], 0
