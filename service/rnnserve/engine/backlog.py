"""How much waits in all, over all models, and when that is too much."""

from dataclasses import dataclass

from rnnserve.errors import Reason, Refusal

LEAST_RETRY_S, MOST_RETRY_S = 0.01, 5.0


@dataclass(frozen=True)
class BacklogLimits:
    """What may wait for its answer at once."""

    max_steps: int = 1_000_000
    max_bytes: int = 256 << 20
    """Inputs and the outputs they will give: what the waiting chunks hold or will hold."""


class Backlog:
    """Counts the steps and bytes that were taken in and are not answered. Refuses, never waits."""

    def __init__(self, limits: BacklogLimits) -> None:
        self.limits = limits
        self.steps = 0
        self.bytes = 0

    def has_room(self, steps: int, size_bytes: int) -> bool:
        """Whether so much would be taken in."""
        return (
            self.steps + steps <= self.limits.max_steps
            and self.bytes + size_bytes <= self.limits.max_bytes
        )

    def take_in(self, steps: int, size_bytes: int) -> bool:
        """Count a chunk that comes in; False, and nothing is counted, when it is too much."""
        steps, size_bytes = self.steps + steps, self.bytes + size_bytes
        if steps > self.limits.max_steps or size_bytes > self.limits.max_bytes:
            return False
        self.steps, self.bytes = steps, size_bytes
        return True

    def let_go(self, steps: int, size_bytes: int) -> None:
        """Chunks were answered, one way or the other."""
        self.steps -= steps
        self.bytes -= size_bytes

    def refusal(self, wait_s: float) -> Refusal:
        """What one is told who isn't let in, with about `wait_s` of work waiting."""
        return Refusal(
            Reason.OVERLOADED,
            f"there is no room: at most {self.limits.max_steps} steps may wait and "
            f"{self.limits.max_bytes} bytes",
            # By then about half of what waits now will have gone. Rounded, so that many are told
            # the same: in an overload thousands a second are.
            retry_after_s=round(min(max(wait_s / 2, LEAST_RETRY_S), MOST_RETRY_S), 2),
            limit=self.limits.max_steps,
        )
