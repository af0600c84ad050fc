"""Somebody to whom a generation is told, and who says when to pause and when to stop."""

from collections.abc import Callable

from rnnserve.engine.generation import Audience, Cause, Verdict
from rnnserve.errors import Refusal


class Heard:
    """What was told of one generation. `says` gives the verdict on the n-th token, from 1."""

    def __init__(self, says: Callable[[int], Verdict] = lambda _: Verdict.GO_ON) -> None:
        self.tokens: list[int] = []
        self.logprobs: list[float | None] = []
        self.ends: list[Cause | Refusal] = []
        self._says = says
        self.audience = Audience(self._token, self._ended)

    @property
    def end(self) -> Cause | Refusal:
        """How it ended, which is told once."""
        (end,) = self.ends
        return end

    def _token(self, token: int, logprob: float | None) -> Verdict:
        assert not self.ends, "a token came after the end"
        self.tokens.append(token)
        self.logprobs.append(logprob)
        return self._says(len(self.tokens))

    def _ended(self, outcome: Cause | Refusal) -> None:
        self.ends.append(outcome)
