"""A generation held against the equations, token by token, and where it leaves its session."""

from dataclasses import dataclass

import numpy as np

from heard import Heard
from laws.mirror import Mirror, Sent
from rnnserve.engine.generation import Cause, Generation
from rnnserve.errors import Reason, Refusal

LOGPROB_TOLERANCE = 1e-4


@dataclass
class Talk:
    """One generation on a mirrored session; whatever it draws, its logprobs have to be right."""

    mirror: Mirror
    prompt: list[int]
    heard: Heard
    greedy: bool
    max_tokens: int
    stop_tokens: tuple[int, ...]
    stops_at: int
    """The verdict on this token is STOP; 0: on none."""
    poison: int
    max_chunk_steps: int
    generation: Generation | None = None
    left: bool = False

    def __post_init__(self) -> None:
        self._walk = self.mirror.twin(self.mirror.id, 0.0)
        """Stands before the latest token that was told."""
        self._checked = 0

    def check_tokens(self) -> None:
        """Those that were told since the last time, against the equations' scores."""
        if self._checked == 0 and self.heard.tokens and self.prompt:
            self._walk.feed(self.prompt)
        while self._checked < len(self.heard.tokens):
            if self._checked:
                self._walk.feed([self.heard.tokens[self._checked - 1]])
            scores, token = self._walk.latest, self.heard.tokens[self._checked]
            assert scores is not None
            peak = scores.max()
            wanted = scores[token] - peak - np.log(np.exp(scores - peak).sum())
            logprob = self.heard.logprobs[self._checked]
            assert logprob is not None
            assert abs(logprob - wanted) < LOGPROB_TOLERANCE
            assert not self.greedy or scores[token] >= peak - LOGPROB_TOLERANCE
            self._checked += 1

    def settle(self, steps: int) -> None:
        """It is over, and its session stands at `steps`: so many inputs were taken, whole."""
        self.check_tokens()
        fed = steps - self.mirror.steps
        self._check_end(fed)
        inputs = (self.prompt + self.heard.tokens)[:fed]
        for start in range(0, min(fed, len(self.prompt)), self.max_chunk_steps):
            piece = self.prompt[start : start + self.max_chunk_steps]
            self.mirror.kept.append(Sent(self.mirror.steps + start, piece, []))
        if inputs:
            self.mirror.feed(inputs)

    def _check_end(self, fed: int) -> None:
        made, taken = self.heard.tokens, fed - len(self.prompt)
        match self.heard.end:
            case Cause.LEFT:
                assert self.left
                whole_pieces = not made and fed % self.max_chunk_steps == 0 and taken < 0
                assert taken in (len(made) - 1, len(made)) or whole_pieces
            case Cause.MAX_TOKENS:
                assert len(made) == taken == self.max_tokens
            case Cause.STOP_TOKEN:
                assert made[-1] in self.stop_tokens
                assert taken == len(made)
            case Cause.STOP_TEXT:
                assert len(made) == taken == self.stops_at
            case Refusal() as refusal:
                self._check_refusal(refusal, fed)
        assert self.stops_at == 0 or len(made) <= self.stops_at
        assert not set(made[:-1]) & set(self.stop_tokens)

    def _check_refusal(self, refusal: Refusal, fed: int) -> None:
        inputs = self.prompt + self.heard.tokens
        if refusal.reason is Reason.OVERLOADED:
            assert 0 < fed < len(self.prompt)
            return
        assert refusal.reason is Reason.MODEL_FAILED
        where = inputs.index(self.poison)
        in_prompt = where < len(self.prompt)
        assert fed == (where - where % self.max_chunk_steps if in_prompt else where)
