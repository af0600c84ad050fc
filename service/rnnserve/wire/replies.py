"""How long answers wait in a call, from when they are there until gRPC has taken them.

Steps of one batch are ready at one moment, so what is kept is a count for each batch: 0.05 us a
step of 64 in a frame, 0.6 us where each has a message of its own.
"""

import time
from collections.abc import Callable

Replied = Callable[[str, int, float], None]
"""Told a model, how many answers, and how long they waited in seconds."""
Waiting = list[tuple[str, float, int]]
"""Models, when their answers were ready, and how many."""


class Replies:
    """Of one call. `ready_s` and `answers` are those of the batch that is being answered: who finds
    another `ready_s` calls `turn`, and counts his answer then."""

    def __init__(
        self, replied: Replied = lambda *_: None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`clock` is the engine's."""
        self.ready_s: float | None = None
        self.answers = 0
        self._model = ""
        self._waiting: Waiting = []
        self._replied = replied
        self._now_s = clock

    def turn(self, model: str, ready_s: float | None) -> None:
        """What comes next was ready then; None: long ago, and isn't counted."""
        if self.ready_s is not None:
            self._waiting.append((self._model, self.ready_s, self.answers))
        self._model, self.ready_s, self.answers = model, ready_s, 0

    def take(self) -> Waiting:
        """All that was counted since the last time."""
        waiting, self._waiting = self._waiting, []
        if self.ready_s is not None:
            waiting.append((self._model, self.ready_s, self.answers))
            self.ready_s = None
        return waiting

    def sent(self, waiting: Waiting) -> None:
        """gRPC has taken them."""
        now_s = self._now_s()
        for model, ready_s, answers in waiting:
            self._replied(model, answers, now_s - ready_s)
