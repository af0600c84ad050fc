"""The tokens of one generation on their way out: text, stop texts, and messages."""

import asyncio
from collections.abc import Callable

from rnnserve.engine.generation import Cause, Verdict
from rnnserve.engine.sampling import Sampling, StopGate
from rnnserve.repository.tokenizer import Decoder
from rnnserve.v1 import rnnserve_pb2 as v1

MAX_UNSENT_TOKENS = 256
"""Tokens made ahead of a client that reads slowly."""

_CAUSES = {
    Cause.MAX_TOKENS: v1.GenerateEnd.MAX_TOKENS,
    Cause.STOP_TEXT: v1.GenerateEnd.STOP_TEXT,
    Cause.STOP_TOKEN: v1.GenerateEnd.STOP_TOKEN,
    Cause.LEFT: v1.GenerateEnd.CAUSE_UNSPECIFIED,
}


class Pieces:
    """Collects what is to be told of a generation, for one writer that takes all there is."""

    def __init__(self, sampling: Sampling, decoder: Decoder | None) -> None:
        self.on_room: Callable[[], None] = lambda: None
        """Called when there is room again after a PAUSE."""
        self.on_cut: Callable[[], None] = lambda: None
        """Called when no more tokens are wanted."""
        self.on_end: Callable[[], None] = lambda: None
        """Called when the generation has ended."""
        self.told_end = False
        """Whether the last message was written."""
        self._sampling = sampling
        self._decoder = decoder
        self._gate = StopGate(sampling.stop)
        self._made = 0
        self._tokens: list[int] = []
        self._logprobs: list[float] = []
        self._texts: list[str] = []
        self._end: Cause | Exception | None = None
        self._writer: asyncio.Future[None] | None = None

    def token(self, token: int, logprob: float | None) -> Verdict:
        """A token was made; says whether to go on."""
        self._made += 1
        self._tokens.append(token)
        if logprob is not None:
            self._logprobs.append(logprob)
        if self._decoder is not None:
            self._texts.append(self._gate.push(self._decoder.push(token)))
        self._wake()
        if self._gate.stopped:
            return Verdict.STOP
        return Verdict.GO_ON if len(self._tokens) < MAX_UNSENT_TOKENS else Verdict.PAUSE

    def ended(self, outcome: Cause | Exception) -> None:
        """The generation is over."""
        if self._end is None:
            self._end = outcome
        self._wake()
        self.on_end()

    def fail(self, failure: Exception) -> None:
        """What is ready is still written, then `failure` is raised; nothing more is made."""
        if self._end is None:
            self._end = failure
        self.on_cut()
        self._wake()

    async def take(self) -> v1.GenerateReply:
        """Everything since the last message, as the next one; with `end` in it, the last.

        Raises what the generation failed with, once all before it was taken.
        """
        while not self._tokens and self._end is None:
            self._writer = asyncio.get_running_loop().create_future()
            await self._writer
        if isinstance(self._end, Exception) and not self._tokens:
            raise self._end
        reply = v1.GenerateReply(
            tokens=self._tokens, text="".join(self._texts), logprobs=self._logprobs
        )
        self._tokens, self._texts, self._logprobs = [], [], []
        if isinstance(self._end, Cause):
            reply.text += self._rest()
            reply.end.CopyFrom(self._end_message(self._end))
        else:
            self.on_room()
        return reply

    def _rest(self) -> str:
        """What was held back, now that nothing follows."""
        if self._gate.stopped or self._decoder is None:
            return ""
        return self._gate.push(self._decoder.flush()) + self._gate.flush()

    def _end_message(self, cause: Cause) -> v1.GenerateEnd:
        return v1.GenerateEnd(
            # The last of the text may hold a stop text too.
            cause=v1.GenerateEnd.STOP_TEXT if self._gate.stopped else _CAUSES[cause],
            generated_tokens=self._made,
            seed=self._sampling.seed,
        )

    def _wake(self) -> None:
        writer = self._writer
        if writer is not None:
            self._writer = None
            if not writer.done():
                writer.set_result(None)
