"""A session by the equations: what it has to be, or one of the things that it may be.

Nobody hears what became of a step whose caller was cancelled, so a session that was cut may stand
at several places. A test keeps them all, and lets go of those that the next answer contradicts:
when none is left, the server did what it must not do.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from laws.mirror import exact
from rnnserve.engine import initial
from small_models import SmallModel

TOLERANCE = 1e-5
LOGPROB_TOLERANCE = 1e-4

Rows = tuple[np.ndarray, ...]
"""A carry as the server has it: in the spec's order, each entry without rows."""


@dataclass(frozen=True, eq=False)
class Twin:
    """One place where a session may stand."""

    model: SmallModel
    carry: dict[str, np.ndarray]
    index: int = 0
    scores: np.ndarray | None = None  # (V,)
    """After its latest step; None where it has taken none since it began, was reset or restored."""

    @classmethod
    def fresh(cls, model: SmallModel, rows: Rows | None = None) -> "Twin":
        return cls(model, _carry(model, rows))

    def fed(self, tokens: Sequence[int]) -> tuple["Twin", np.ndarray]:
        """The twin after these tokens, and the logits (T, V) they give."""
        carry, logits = self.model.reference(self.carry, np.array([tokens]))
        after = replace(self, carry=carry, index=self.index + len(tokens), scores=logits[0, -1])
        return after, logits[0]

    def after(self, tokens: Sequence[int]) -> "Twin":
        return self.fed(tokens)[0] if len(tokens) else self

    def restarted(self, rows: Rows | None) -> "Twin":
        return replace(self, carry=_carry(self.model, rows), scores=None)

    def restored(self) -> "Twin":
        """As an import of its export begins."""
        return replace(self, scores=None)

    def holds(self, rows: Rows) -> bool:
        """Whether this is its carry."""
        names = [entry.input_name for entry in self.model.spec.carry]
        pairs = zip(names, rows, strict=True)
        return all(close(row, self.carry[name][0]) for name, row in pairs)

    def says(self, token: int, logprob: float) -> bool:
        """Whether a greedy generation may say this token here; a near tie may fall either way."""
        assert self.scores is not None
        peak = self.scores.max()
        wanted = self.scores[token] - peak - np.log(np.exp(self.scores - peak).sum())
        likeliest = self.scores[token] >= peak - LOGPROB_TOLERANCE
        return bool(likeliest and abs(logprob - wanted) < LOGPROB_TOLERANCE)

    def greedy(self) -> list[int]:
        """The tokens that a greedy generation may say next: one, but for a near tie."""
        assert self.scores is not None
        near = self.scores >= self.scores.max() - LOGPROB_TOLERANCE
        return [int(token) for token in np.flatnonzero(near)]

    def is_like(self, other: "Twin") -> bool:
        """Whether no answer will ever tell them apart."""
        if self.index != other.index or (self.scores is None) != (other.scores is None):
            return False
        return all(np.allclose(self.carry[k], other.carry[k], 0, 1e-7) for k in self.carry)


def distinct(twins: Iterable[Twin]) -> list[Twin]:
    kept: list[Twin] = []
    for twin in twins:
        if not any(twin.is_like(other) for other in kept):
            kept.append(twin)
    return kept


def close(found: np.ndarray, wanted: np.ndarray) -> bool:
    return found.shape == wanted.shape and np.allclose(found, wanted, rtol=0, atol=TOLERANCE)


def random_rows(model: SmallModel, seed: int, scale: float = 1.0) -> Rows:
    return initial.random(model.spec, seed, scale)


def by_name(model: SmallModel, rows: Rows) -> dict[str, np.ndarray]:
    """As a client gives a carry."""
    return {entry.input_name: row for entry, row in zip(model.spec.carry, rows, strict=True)}


def _carry(model: SmallModel, rows: Rows | None) -> dict[str, np.ndarray]:
    if rows is None:
        return model.reference.initial_carry(1)
    return {name: exact(row[np.newaxis]) for name, row in by_name(model, rows).items()}
