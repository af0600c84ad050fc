"""What a session has to be by the equations, carried along beside the engine's.

A mirror takes operations in the order in which they were submitted, and takes each as done when its
outcome is there: so an outcome out of order, or one the equations don't give, is found.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from rnnserve.engine.chunk import Chunk
from rnnserve.engine.session import Session
from rnnserve.errors import Reason, Refusal
from small_models import SmallModel
from synchronous_engine import logits

TOLERANCE = 1e-5
Carry = dict[str, np.ndarray]


def agree(found, wanted) -> None:
    np.testing.assert_allclose(found, wanted, atol=TOLERANCE, rtol=0)


@dataclass
class Act:
    """An operation that was taken in; `outcome` gets what came of it."""

    settle: Callable[[object], None]
    outcome: list
    steps: int = 0


@dataclass
class Sent:
    """A chunk that was taken in, to be sent again."""

    index: int
    tokens: list[int]
    outcome: list


@dataclass
class Mirror:
    """One session by the equations."""

    model: SmallModel
    id: str
    carry: Carry
    opened_s: float
    steps: int = 0
    latest: np.ndarray | None = None  # (V,)
    used_s: float = 0.0
    answered_s: float = 0.0
    begun_at: int | None = None
    begun_with: int | None = None
    """The seed of the carry with which it last began anew."""
    """Where it was last reset."""
    closing: bool = False
    acts: deque[Act] = field(default_factory=deque)
    kept: list[Sent] = field(default_factory=list)
    """Answered chunks that may come again, the oldest first."""
    under_way: list[Sent] = field(default_factory=list)

    @property
    def admitted(self) -> int:
        return self.steps + sum(act.steps for act in self.acts)

    def feed(self, tokens: list[int]) -> np.ndarray:
        """Take the tokens; the logits (T, V)."""
        carry, scores = self.model.reference(self.carry, np.array([tokens]))
        self.carry, self.steps, self.latest = carry, self.steps + len(tokens), scores[0, -1]
        return scores[0]

    def restart(self, rows: tuple[np.ndarray, ...] | None) -> None:
        """The carry begins anew."""
        self.carry, self.latest, self.begun_at = carry_of(self.model, rows), None, self.steps

    def twin(self, session_id: str, now_s: float) -> "Mirror":
        """A fork of it."""
        return Mirror(self.model, session_id, self.carry, now_s, self.steps, self.latest, now_s)

    def settle(self) -> None:
        """Take what has its outcome, in the order in which it came."""
        while self.acts and self.acts[0].outcome:
            act = self.acts.popleft()
            (outcome,) = act.outcome
            act.settle(outcome)
        assert not any(act.outcome for act in self.acts), "an answer overtook an earlier one"

    def check_step(self, sent: Sent, outcome, *, poisoned: bool, in_time: bool) -> None:
        """A chunk has ended: as the equations say, or refused for a reason there is."""
        self.under_way.remove(sent)
        if isinstance(outcome, Chunk):
            assert outcome.index == sent.index == self.steps
            assert not poisoned
            agree(logits([outcome]), self.feed(sent.tokens))
            self.kept.append(sent)
            return
        match outcome.reason:
            case Reason.MODEL_FAILED:
                assert poisoned
                assert sent.index == self.steps
            case Reason.TOO_LATE:
                assert not in_time
                assert outcome.retry_after_s
            case Reason.INDEX_GAP:
                assert sent.index != self.steps
                assert outcome.facts["expected"] == str(self.steps)
            case other:
                raise AssertionError(f"a step was refused: {other}")

    def check_place(self, index: int | None, outcome) -> bool:
        """Whether an operation at this index was done; refused it is exactly where it has to be."""
        wrong = index is not None and index != self.steps
        refused = isinstance(outcome, Refusal)
        if wrong:
            assert refused
            past = index is not None and index < self.steps
            assert outcome.reason is (Reason.INDEX_PAST if past else Reason.INDEX_GAP)
            assert outcome.facts["expected"] == str(self.steps)
        return not refused

    def check_stand(self, session: Session) -> None:
        """The engine's session stands where this one does, after the same scores."""
        assert session.steps == session.admitted == self.steps
        assert (session.latest is None) is (self.latest is None)
        if session.latest is not None and self.latest is not None:
            scores = np.frombuffer(session.latest[0], np.float32)
            agree(scores[-len(self.latest) :], self.latest)

    def check_carry(self, rows: tuple[np.ndarray, ...]) -> None:
        """The engine's carry (each entry without rows) is the equations'."""
        for entry, array in zip(self.model.spec.carry, rows, strict=True):
            agree(array[np.newaxis], self.carry[entry.input_name])


def carry_of(model: SmallModel, rows: tuple[np.ndarray, ...] | None) -> Carry:
    """Rows (each entry without rows) as the reference takes them, in float64; None: zeros."""
    if rows is None:
        return model.reference.initial_carry(1)
    names = [entry.input_name for entry in model.spec.carry]
    return {name: exact(row[np.newaxis]) for name, row in zip(names, rows, strict=True)}


def exact(array: np.ndarray) -> np.ndarray:
    """Floating-point numbers in float64; counters as they are."""
    return array.astype(np.float64) if array.dtype.kind == "f" else array
