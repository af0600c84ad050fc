"""Generation on the server: a session of its own, stepped with the tokens drawn from it."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from rnnserve.engine.chunk import Reply
from rnnserve.engine.engine import Engine
from rnnserve.engine.model import Model
from rnnserve.engine.sampling import MAX_TOKENS, Sampler, Sampling, StopGate
from rnnserve.engine.session import Session
from rnnserve.errors import Reason, Refusal
from rnnserve.repository.tokenizer import Tokenizer
from rnnserve.v1 import rnnserve_pb2 as v1
from rnnserve.wire.guard import Context
from rnnserve.wire.outbox import Outbox

MAX_PROMPT_CHARACTERS = 65_536
"""Encoding is done on the loop; this much takes tens of milliseconds."""
MAX_UNSENT_TOKENS = 256
"""Tokens made ahead of a client that reads slowly."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A token and the text that became certain with it; at the end, the end."""

    token: int | None
    text: str
    end: v1.GenerateEnd | None = None


class Generations:
    """The generations under way now."""

    def __init__(self, engine: Engine, tokenizers: dict[str, Tokenizer]) -> None:
        self._engine = engine
        self._tokenizers = tokenizers
        self._outboxes: set[Outbox[Piece]] = set()

    async def serve(self, request: v1.GenerateRequest, context: Context) -> None:
        """Send tokens as they are made; those made during a write travel together.

        Raises Refusal: what opening raises, cannot_generate, empty_chunk, bad_sampling,
        value_out_of_range.
        """
        model = self._engine.model(request.model, request.version)
        prompt = self._prompt(model, request)
        sampling = read_sampling(request.sampling)
        session, _ = self._engine.open(request.model, request.version, held=True)
        outbox: Outbox[Piece] = Outbox(MAX_UNSENT_TOKENS)
        self._outboxes.add(outbox)
        maker = asyncio.create_task(
            _finishing(partial(self._draw_all, model, session, prompt, sampling, outbox), outbox)
        )
        try:
            while pieces := await outbox.take():
                await context.write(reply_of(pieces))
        finally:
            self._outboxes.discard(outbox)
            self._engine.discard(session.id)
            maker.cancel()
            await asyncio.gather(maker, return_exceptions=True)

    def cut(self, refusal: Refusal) -> None:
        """End every generation; what is ready is still written."""
        for outbox in self._outboxes:
            outbox.fail(refusal)

    def _prompt(self, model: Model, request: v1.GenerateRequest) -> np.ndarray:
        """The prompt's tokens (T,), T >= 1."""
        if not model.spec.predicts_tokens:
            raise Refusal(
                Reason.CANNOT_GENERATE,
                f"{model.spec.name} doesn't take a token and give a score for each token",
            )
        tensor = model.spec.inputs[0]
        tokenizer = self._tokenizers.get(model.spec.name)
        if request.WhichOneof("prompt") == "text":
            if tokenizer is None:
                raise Refusal(
                    Reason.CANNOT_GENERATE,
                    f"{model.spec.name} has no tokenizer: send the prompt as tokens",
                )
            if len(request.text) > MAX_PROMPT_CHARACTERS:
                raise Refusal(
                    Reason.CHUNK_TOO_LONG,
                    f"a prompt of {len(request.text)} characters; at most {MAX_PROMPT_CHARACTERS}",
                    limit=MAX_PROMPT_CHARACTERS,
                )
            ids = tokenizer.encode(request.text)
        else:
            ids = list(request.tokens.ids)
        if not ids:
            raise Refusal(Reason.EMPTY_CHUNK, "the prompt needs at least one token")
        assert tensor.high is not None
        if not 0 <= min(ids) <= max(ids) < tensor.high:
            raise Refusal(
                Reason.VALUE_OUT_OF_RANGE,
                f"a prompt token is outside 0 to {tensor.high - 1}",
                low=0,
                high=tensor.high,
            )
        return np.array(ids, tensor.dtype)

    async def _draw_all(
        self,
        model: Model,
        session: Session,
        prompt: np.ndarray,
        sampling: Sampling,
        outbox: Outbox[Piece],
    ) -> None:
        tokenizer = self._tokenizers.get(model.spec.name)
        decoder = tokenizer.decoder() if tokenizer else None
        sampler, gate = Sampler(sampling), StopGate(sampling.stop)
        limit = session.limits.max_chunk_steps
        for start in range(0, len(prompt), limit):
            logits = await self._step(session, prompt[start : start + limit])  # (V,)
        made = 0
        while made < sampling.max_tokens and not gate.stopped:
            token = sampler.draw(logits)
            made += 1
            self._engine.meter.generated(model.spec.name, 1)
            await outbox.room()
            outbox.promise()
            outbox.put(Piece(token, gate.push(decoder.push(token) if decoder else "")))
            if made < sampling.max_tokens and not gate.stopped:
                logits = await self._step(session, np.array([token], prompt.dtype))
        rest = "" if gate.stopped or decoder is None else gate.push(decoder.flush())
        end = v1.GenerateEnd(
            cause=v1.GenerateEnd.STOP_TEXT if gate.stopped else v1.GenerateEnd.MAX_TOKENS,
            prompt_tokens=len(prompt),
            generated_tokens=made,
            seed=sampling.seed,
        )
        outbox.promise()
        outbox.put(Piece(None, rest + gate.flush(), end))

    async def _step(self, session: Session, tokens: np.ndarray) -> np.ndarray:
        """Take the tokens (T,); return the logits (V,) after the last."""
        answered: asyncio.Future[Reply | Refusal] = asyncio.get_running_loop().create_future()

        def listener(outcome: Reply | Refusal) -> None:
            if not answered.done():
                answered.set_result(outcome)

        self._engine.step(session.id, session.steps, (tokens,), listener)
        outcome = await answered
        if isinstance(outcome, Refusal):
            raise outcome
        logits: np.ndarray = outcome.outputs[0][-1]
        return logits


async def _finishing(draw: Callable[[], Awaitable[None]], outbox: Outbox[Piece]) -> None:
    """Let the writer know how the drawing ended, whichever way it did."""
    try:
        await draw()
    except Exception as error:
        outbox.fail(error)
    outbox.finish()


def read_sampling(message: v1.Sampling) -> Sampling:
    """The request's sampling with the defaults filled in. Raises Refusal (bad_sampling)."""
    return Sampling(
        seed=message.seed if message.HasField("seed") else secrets.randbits(32),
        max_tokens=message.max_tokens or MAX_TOKENS,
        temperature=message.temperature if message.HasField("temperature") else 1.0,
        top_k=message.top_k,
        top_p=message.top_p if message.HasField("top_p") else 1.0,
        stop=tuple(message.stop),
    )


def reply_of(pieces: list[Piece]) -> v1.GenerateReply:
    """Pieces that are ready together, as one message."""
    return v1.GenerateReply(
        tokens=(piece.token for piece in pieces if piece.token is not None),
        text="".join(piece.text for piece in pieces),
        end=pieces[-1].end,
    )
