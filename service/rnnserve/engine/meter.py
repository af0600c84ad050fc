"""What the engine tells about itself. Who counts it is not the engine's business."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol

from rnnserve.errors import Reason


class Cause(StrEnum):
    """Why a session ended."""

    CLOSED = "closed"
    IDLE = "idle"
    LIFE = "life"
    DRAINED = "drained"


class Meter(Protocol):
    """Called on the event loop, never from a worker thread. Times are in seconds."""

    def opened(self, model: str) -> None:
        """A session began."""

    def ended(self, model: str, cause: Cause) -> None:
        """A session ended."""

    def ran(self, model: str, rows: int, steps: int, run_s: float) -> None:
        """A batch of `rows`, `steps` of each, went through the runner."""

    def answered(
        self, model: str, steps: int, queue_s: Sequence[float], whole_s: Sequence[float]
    ) -> None:
        """Chunks of `steps` steps in all were committed by one batch: each waited, and took in
        all, this long."""

    def resent(self, model: str) -> None:
        """A chunk came again and was answered from what was kept."""

    def generated(self, model: str, tokens: int) -> None:
        """Tokens were made."""

    def refused(self, reason: Reason) -> None:
        """An operation was answered with an error."""
