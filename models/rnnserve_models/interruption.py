"""Ctrl-C and SIGTERM, noted rather than obeyed, so that a step is never cut in half."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType
from typing import Any, Self


class Interrupted(Exception):
    """The person or the system asked to stop; the work so far is saved.

    Attributes:
        exit_code: 130 for Ctrl-C, 143 for SIGTERM, as shells have it.
    """

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal.Signals(signal_number).name)
        self.exit_code = 128 + signal_number


class Interruption:
    """While entered, the first SIGINT or SIGTERM is noted; a second one acts as it always did."""

    def __init__(self) -> None:
        self._noted: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._restore()

    @property
    def noted(self) -> bool:
        """Whether a signal has come."""
        return self._noted is not None

    def check(self) -> None:
        """Raise `Interrupted` if a signal has come."""
        if self._noted is not None:
            raise Interrupted(self._noted)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self._noted = number
        self._restore()

    def _restore(self) -> None:
        while self._before:
            signal.signal(*self._before.popitem())
