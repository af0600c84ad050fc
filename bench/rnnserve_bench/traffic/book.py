"""What came of every chunk: five moments and an outcome each."""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ANSWERED = "answered"
NO_ANSWER, NOT_SENT = "no_answer", "not_sent"
STREAM_ENDED, WRONG_ANSWER = "stream_ended", "wrong_answer"
NEVER = float("nan")
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Rows:
    """Chunks; each array is (N,), moments in seconds from the start."""

    due_s: Floats
    """When it should have been sent."""
    taken_s: Floats
    """When the generator got round to it."""
    sent_s: Floats
    """When a session was free for it; NaN where none ever was."""
    done_s: Floats
    """When its answer was there; NaN where there is none."""
    steps: NDArray[np.int32]
    outcome: NDArray[np.int32]
    """A place in `outcomes`."""
    outcomes: tuple[str, ...]
    """ANSWERED comes first; the others are the server's reasons, and what has no reason."""

    def __len__(self) -> int:
        return len(self.due_s)

    def between(self, begin_s: float, end_s: float) -> "Rows":
        """Those that were due then."""
        return self._those((self.due_s >= begin_s) & (self.due_s < end_s))

    def of(self, outcome: str) -> "Rows":
        """Those with this outcome."""
        place = self.outcomes.index(outcome) if outcome in self.outcomes else -1
        return self._those(self.outcome == place)

    def but(self, outcome: str) -> "Rows":
        """Those with any other."""
        place = self.outcomes.index(outcome) if outcome in self.outcomes else -1
        return self._those(self.outcome != place)

    def with_answer(self) -> "Rows":
        """Those that the server answered, whatever it said."""
        return self._those(np.isfinite(self.done_s))

    def _those(self, which: NDArray[np.bool_]) -> "Rows":
        return Rows(
            self.due_s[which],
            self.taken_s[which],
            self.sent_s[which],
            self.done_s[which],
            self.steps[which],
            self.outcome[which],
            self.outcomes,
        )

    @property
    def latency_s(self) -> Floats:
        """From when it should have been sent."""
        return self.done_s - self.due_s

    @classmethod
    def joined(cls, parts: Sequence["Rows"]) -> "Rows":
        """Of several generators."""
        names = [ANSWERED, *sorted({n for part in parts for n in part.outcomes} - {ANSWERED})]
        outcomes = [
            np.array([names.index(n) for n in part.outcomes], np.int32)[part.outcome]
            for part in parts
        ]
        return cls(
            np.concatenate([part.due_s for part in parts]),
            np.concatenate([part.taken_s for part in parts]),
            np.concatenate([part.sent_s for part in parts]),
            np.concatenate([part.done_s for part in parts]),
            np.concatenate([part.steps for part in parts]),
            np.concatenate(outcomes),
            tuple(names),
        )


class Book:
    """Rows in the making; takes absolute moments of `time.monotonic`."""

    def __init__(self) -> None:
        self.start_s = 0.0
        self._due, self._taken, self._sent, self._done = (array("d") for _ in range(4))
        self._steps, self._outcome = array("i"), array("i")
        self._places = {ANSWERED: 0}
        self._seen = 0

    def add(
        self, due_s: float, taken_s: float, sent_s: float, done_s: float, steps: int, outcome: str
    ) -> None:
        start_s = self.start_s
        self._due.append(due_s - start_s)
        self._taken.append(taken_s - start_s)
        self._sent.append(sent_s - start_s)
        self._done.append(done_s - start_s)
        self._steps.append(steps)
        self._outcome.append(self._places.setdefault(outcome, len(self._places)))

    def rows(self) -> Rows:
        """All of them."""
        return self._cut(0)

    def news(self) -> Rows:
        """Those that came since the last look."""
        begin, self._seen = self._seen, len(self._due)
        return self._cut(begin)

    def _cut(self, begin: int) -> Rows:
        return Rows(
            np.array(self._due[begin:], np.float64),
            np.array(self._taken[begin:], np.float64),
            np.array(self._sent[begin:], np.float64),
            np.array(self._done[begin:], np.float64),
            np.array(self._steps[begin:], np.int32),
            np.array(self._outcome[begin:], np.int32),
            tuple(self._places),
        )
