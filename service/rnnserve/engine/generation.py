"""One generation: a session stepped with the tokens that are drawn from it.

    prompt -> chunks -> scores -> token -> step -> scores -> token -> ... -> over

The prompt goes through the model in chunks like anyone's. From then on the generation is a row of
its own: every tick takes one token of all generations that are ready, and draws all next tokens at
once. Nothing is kept for a resend.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

import numpy as np

from rnnserve.engine.chunk import Chunk, Memory
from rnnserve.engine.draw import Draws, draw
from rnnserve.engine.sampling import Sampling
from rnnserve.engine.session import Session
from rnnserve.errors import Reason, Refusal

if TYPE_CHECKING:
    from rnnserve.engine.model import Model

logger = logging.getLogger(__name__)


class Verdict(Enum):
    """What the one who was told a token says."""

    GO_ON = "go on"
    STOP = "stop"
    """The text has come to a stop text."""
    PAUSE = "pause"
    """No room for more tokens: wait for `resume`."""


class Cause(Enum):
    """Why a generation ended."""

    MAX_TOKENS = "max_tokens"
    STOP_TEXT = "stop_text"
    STOP_TOKEN = "stop_token"
    LEFT = "left"
    """Nobody wants it any more."""


@dataclass(frozen=True)
class Audience:
    """Who is told. `ended` is called exactly once, last."""

    token: Callable[[int, float | None], Verdict]
    """A token and, where asked for, its log-probability."""
    ended: Callable[[Cause | Exception], None]
    """How it ended: a Refusal, or the exception of a bug, where it went wrong."""


class Generation:
    """Moves one session until it ends; the session is nobody else's meanwhile.

    `feed_last`: whether the last token is taken too, so that the session stands after it.
    """

    def __init__(
        self,
        model: "Model",
        session: Session,
        prompt: np.ndarray,  # (T,), T >= 0
        sampling: Sampling,
        audience: Audience,
        *,
        feed_last: bool,
    ) -> None:
        self.session = session
        self.draws = Draws(sampling, model.vocabulary)
        self.next_input = b""
        """The token to be taken, in memory."""
        self.made = 0
        self._model = model
        self._prompt = prompt
        self._fed = 0
        self._sampling = sampling
        self._audience = audience
        self._feed_last = feed_last
        self._paused = False
        self._chunk: Chunk | None = None
        """The prompt's chunk that is under way."""
        self._scores: np.ndarray | None = None  # (V,)
        """What the last token taken gave."""
        self._over: Cause | None = None
        """Set before the end, while the last token is still under way."""

    @property
    def is_over(self) -> bool:
        """Whether what is under way is its end, and no more tokens are wanted."""
        return self._over is not None

    def start(self) -> None:
        """Begin with the prompt; an empty one goes on from the session's latest step.

        Raises Refusal (empty_chunk, overloaded) and then has not begun.
        """
        self.draws.see(self._prompt)
        if len(self._prompt):
            self._feed()
            self._begun()
            return
        latest = self.session.latest
        if latest is None:
            raise Refusal(
                Reason.EMPTY_CHUNK, "the prompt is empty, and the session has no step to go on from"
            )
        self._begun()
        self._draw_after(latest)

    def resume(self) -> None:
        """There is room for tokens again."""
        if self._paused:
            self._paused = False
            self._model.add_generation(self)

    def leave(self) -> None:
        """Nobody wants more. Ends at once, or with the run that is under way; a prompt's chunk has
        then happened or has not."""
        if not self.session.generating:
            return
        self._over = Cause.LEFT
        if self._chunk is not None:
            self._model.withdraw(
                self._chunk, Refusal(Reason.SESSION_BUSY, "the generation was left")
            )
        elif self._paused or self._model.batcher.remove_generation(self):
            self._end(Cause.LEFT)

    def stepped(self, token: int | None, logprob: float | None, scores: np.ndarray) -> None:
        """The token under way was taken and gave `scores` (V,); from them `token` was drawn (None:
        it could not be)."""
        self.session.advance(1)
        self._scores = scores
        if self._over is None:
            self._drawn(token, logprob)
        else:
            self._end(self._over)

    def fail(self, refusal: Refusal) -> None:
        """The model failed, or the server goes: the session stays where it is."""
        if self.session.generating:
            self._end(refusal)

    def _begun(self) -> None:
        self.session.generating = True
        self._model.generations.add(self)

    def _feed(self) -> None:
        """The prompt's next chunk."""
        start, limit = self._fed, self.session.limits.max_chunk_steps
        piece = self._prompt[start : start + limit]
        self._model.submit(
            self.session, self.session.admitted, (piece.tobytes(),), self._took, self._model.now_s()
        )
        self._chunk = self.session.pending[0]
        self._fed += len(piece)

    def _took(self, outcome: Chunk | Refusal) -> None:
        self._chunk = None
        try:
            if self._over is not None:
                self._end(self._over)
            elif isinstance(outcome, Refusal):
                self._end(outcome)
            elif self._fed < len(self._prompt):
                self._feed()
            else:
                assert outcome.answer is not None
                self._draw_after(outcome.answer)
        except Refusal as refusal:
            self._end(refusal)

    def _draw_after(self, answer: Memory) -> None:
        """The first token, from the scores of the answer's last step."""
        scores = self._model.scores(answer)[-1:]  # (1, V)
        tokens, logprobs = draw([self.draws], scores)
        self._model.meter.generated(self._model.spec.name, 1)
        self._drawn(tokens[0], logprobs[0])

    def _drawn(self, token: int | None, logprob: float | None) -> None:
        if token is None:
            self._end(Refusal(Reason.MODEL_FAILED, "the model's scores are not numbers any more"))
            return
        self.made += 1
        try:
            verdict = self._audience.token(token, logprob)
        except Exception as error:
            # Whoever can't be told gets no more; the others' tokens are not for him to hold up.
            self._end(error)
            return
        cause = self._cause(token, verdict)
        if cause is not None and not self._feed_last:
            self._end(cause)
            return
        self._over = cause
        self.next_input = self._model.token_memory(token)
        # What is under way to its end needs no room.
        if verdict is Verdict.PAUSE and cause is None:
            self._paused = True
        else:
            self._model.add_generation(self)

    def _cause(self, token: int, verdict: Verdict) -> Cause | None:
        if verdict is Verdict.STOP:
            return Cause.STOP_TEXT
        if token in self._sampling.stop_tokens:
            return Cause.STOP_TOKEN
        return Cause.MAX_TOKENS if self.made >= self._sampling.max_tokens else None

    def _end(self, outcome: Cause | Exception) -> None:
        if self._scores is not None:
            self.session.latest = (self._scores.tobytes(),)
        self._paused = False
        self.session.tokens += self.made
        self.session.generating = False
        self._model.generations.discard(self)
        try:
            self._audience.ended(outcome)
        except Exception:
            logger.exception("nobody could be told of the end of a generation")
