"""How a generation draws its tokens and where it ends. The drawing itself is in `draw.py`."""

import math
from dataclasses import dataclass

from rnnserve.errors import Reason, Refusal

MAX_TOKENS = 65_536
"""Tokens of one generation, at most."""
MAX_STOPS = 16
MAX_STOP_CHARACTERS = 256
MAX_STOP_TOKENS = 64


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn. Raises Refusal (bad_sampling) for values that mean nothing."""

    seed: int
    max_tokens: int = MAX_TOKENS
    temperature: float = 1.0
    """0: the likeliest token every time."""
    top_k: int = 0
    """Only the k likeliest; 0: all. Of equally likely ones the lower token goes first."""
    top_p: float = 1.0
    """Only the likeliest that together reach this probability (Holtzman et al. 2020)."""
    stop: tuple[str, ...] = ()
    stop_tokens: tuple[int, ...] = ()
    repetition_penalty: float = 1.0
    """Scores of tokens that came before are divided by this where positive and multiplied where
    negative (Keskar et al. 2019). 1: none."""
    logprobs: bool = False
    """Whether each token's log-probability under the model itself is wanted."""

    def __post_init__(self) -> None:
        if not (0.0 <= self.temperature < math.inf):
            self._refuse("temperature", self.temperature, "0 or more")
        if self.top_k < 0:
            self._refuse("top_k", self.top_k, "0 or more")
        if not (0.0 < self.top_p <= 1.0):
            self._refuse("top_p", self.top_p, "over 0 and at most 1")
        if not (1 <= self.max_tokens <= MAX_TOKENS):
            self._refuse("max_tokens", self.max_tokens, f"1 to {MAX_TOKENS}")
        if len(self.stop) > MAX_STOPS or not all(
            1 <= len(text) <= MAX_STOP_CHARACTERS for text in self.stop
        ):
            self._refuse(
                "stop", "not", f"{MAX_STOPS} texts of 1 to {MAX_STOP_CHARACTERS} characters at most"
            )
        if len(self.stop_tokens) > MAX_STOP_TOKENS or min(self.stop_tokens, default=0) < 0:
            self._refuse("stop_tokens", "not", f"{MAX_STOP_TOKENS} tokens, 0 or more, at most")
        if not (0.0 < self.repetition_penalty < math.inf):
            self._refuse("repetition_penalty", self.repetition_penalty, "over 0 and finite")

    def _refuse(self, field: str, value: object, wanted: str) -> None:
        raise Refusal(Reason.BAD_SAMPLING, f"{field} is {value}; it must be {wanted}", field=field)


class StopGate:
    """Lets text through up to the first stop text, holding back what might begin one."""

    def __init__(self, stop: tuple[str, ...]) -> None:
        self._stop = stop
        self._held = ""
        self.stopped = False

    def push(self, text: str) -> str:
        """Take a piece in; return what is certain not to belong to a stop text."""
        if not self._stop:
            return text
        held = self._held + text
        found = [at for stop in self._stop if (at := held.find(stop)) >= 0]
        if found:
            self.stopped = True
            self._held = ""
            return held[: min(found)]
        keep = max((_overlap(held, stop) for stop in self._stop), default=0)
        self._held = held[len(held) - keep :]
        return held[: len(held) - keep]

    def flush(self) -> str:
        """What was held back, now that nothing follows."""
        held, self._held = self._held, ""
        return held


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` with which `stop` begins, short of all of it."""
    at = text.find(stop[0], max(0, len(text) - len(stop) + 1))
    while at >= 0 and not stop.startswith(text[at:]):
        at = text.find(stop[0], at + 1)
    return len(text) - at if at >= 0 else 0
