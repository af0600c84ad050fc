"""What the engine tells about itself. Who counts it is not the engine's business."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from rnnserve.errors import Reason


class Cause(StrEnum):
    """Why a session ended."""

    CLOSED = "closed"
    IDLE = "idle"
    LIFE = "life"
    DRAINED = "drained"
    """With the server's stop."""
    FAILED = "failed"
    """The model, or the server, went wrong with it: what was left of it is of no use."""


@dataclass(frozen=True, slots=True)
class SessionEnd:
    """A session's life, once it is over."""

    model: str
    version: int
    session: str
    """The beginning of its id, which tells it from others and entitles to nothing."""
    cause: Cause
    lived_s: float
    steps: int
    """Its index at the end."""
    chunks: int
    """Messages of steps that were answered."""
    tokens: int
    """Generated with it."""
    resends: int
    failures: int
    """Chunks that were taken in and have no answer."""
    carry_bytes: int


class Meter(Protocol):
    """Called on the event loop, never from a worker thread. Times are in seconds."""

    def opened(self, model: str) -> None:
        """A session began."""

    def ended(self, end: SessionEnd) -> None:
        """A session ended."""

    def ran(self, model: str, rows: int, steps: int, run_s: float) -> None:
        """A batch of `rows`, `steps` of each, went through the runner."""

    def answered(
        self, model: str, steps: int, queue_s: Sequence[float], whole_s: Sequence[float]
    ) -> None:
        """Chunks of `steps` steps in all were committed by one batch: each waited, and took in
        all, this long."""

    def replied(self, model: str, answers: int, reply_s: float) -> None:
        """So many answers to chunks were sent, this long after they were there."""

    def first_token(self, model: str, after_s: float) -> None:
        """A generation's first token was sent, this long after it was asked for."""

    def more_tokens(self, model: str, tokens: int, interval_s: float) -> None:
        """So many tokens of a generation were sent, each about so long after the one before."""

    def resent(self, model: str) -> None:
        """A chunk came again and was answered from what was kept."""

    def generated(self, model: str, tokens: int) -> None:
        """Tokens were made."""

    def refused(self, reason: Reason) -> None:
        """An operation was answered with an error."""
