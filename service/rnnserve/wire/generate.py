"""Generation on the server, as calls: whose session, which prompt, and the tokens' way out."""

import asyncio
import secrets
from collections.abc import Mapping
from functools import partial

import numpy as np

from rnnserve.engine.engine import Engine
from rnnserve.engine.generation import Audience
from rnnserve.engine.meter import Cause
from rnnserve.engine.model import Model
from rnnserve.engine.sampling import MAX_STOP_TOKENS, MAX_STOPS, MAX_TOKENS, Sampling
from rnnserve.engine.table import Entry
from rnnserve.errors import Fault, Reason, Refusal
from rnnserve.repository.tokenizer import Decoder, Tokenizer
from rnnserve.v1 import rnnserve_pb2 as v1
from rnnserve.wire.pieces import Pieces
from rnnserve.wire.reader import Reader, Timed, Watched
from rnnserve.wire.tracing import CallSpan

MAX_PROMPT_CHARACTERS = MAX_PROMPT_TOKENS = 65_536
LOOP_PROMPT_CHARACTERS = 2_048
"""A longer text is encoded in a thread: the loop is everybody's."""
PACE_S, MAX_PACE_S = 150e-6, 0.010
"""A message costs the server about as much as eight tokens. So where many generate, each waits
before its next message, this long for every one of them, and no longer than the second figure; the
tokens made meanwhile travel together. The first token goes at once."""


class Generations:
    """The generations under way now."""

    def __init__(self, engine: Engine, tokenizers: Mapping[Model, Tokenizer]) -> None:
        """`tokenizers` of the models that have one; it may change."""
        self._engine = engine
        self._tokenizers = tokenizers
        self._open: set[Pieces] = set()

    async def serve(
        self, request: v1.GenerateRequest, reader: Reader, span: CallSpan | None = None
    ) -> None:
        """Send tokens as they are made; those made during a write travel together.

        Raises Refusal: what opening and a session's look-up raise, session_busy, cannot_generate,
        empty_chunk, bad_sampling, value_out_of_range.
        """
        arrived_s = self._engine.now_s()
        model = self._model(request)
        sampling = read_sampling(request.sampling)
        prompt = await self._prompt(model, request)
        entry = self._entry(request, model)
        if span is not None:
            span.generation(model, entry.session.id)
            reader = Watched(reader, span)
        reader = Timed(reader, model.spec.name, arrived_s, self._engine.meter, self._engine.now_s)
        pieces = Pieces(sampling, self._decoder(model))
        audience = Audience(pieces.token, pieces.ended)
        self._open.add(pieces)
        cause = Cause.CLOSED
        try:
            generation = self._engine.generate(
                entry, prompt, sampling, audience, feed_last=bool(request.session_id)
            )
            pieces.on_room, pieces.on_cut = generation.resume, generation.leave
            try:
                await self._send(pieces, entry, len(prompt), request, reader)
            finally:
                generation.leave()
        except Refusal as refusal:
            if refusal.reason.fault is Fault.SERVER:
                cause = Cause.FAILED
            raise
        finally:
            self._open.discard(pieces)
            if not request.session_id or (request.fork and not pieces.told_end):
                # Nobody else knows its id.
                self._discard(entry, pieces, cause)

    def cut(self, refusal: Refusal) -> None:
        """End every generation; what is ready is still written."""
        for pieces in self._open:
            pieces.fail(refusal)

    async def _send(
        self,
        pieces: Pieces,
        entry: Entry,
        prompt_tokens: int,
        request: v1.GenerateRequest,
        reader: Reader,
    ) -> None:
        fork_id = entry.session.id if request.fork and request.session_id else ""
        while True:
            reply = await pieces.take()
            reply.fork_id, fork_id = fork_id, ""
            if reply.HasField("end"):
                reply.end.prompt_tokens = prompt_tokens
                if request.session_id:
                    reply.end.session_id = entry.session.id
                    reply.end.index = entry.session.steps
                await self._write(reply, entry, reader)
                pieces.told_end = True
                return
            await self._write(reply, entry, reader)
            if len(self._open) > 2:
                await asyncio.sleep(min(MAX_PACE_S, PACE_S * len(self._open)))

    async def _write(self, reply: v1.GenerateReply, entry: Entry, reader: Reader) -> None:
        """Send a message; one that nobody reads for too long ends the call.

        Raises Refusal: session_expired, session_too_old.
        """
        limits = self._engine.table.limits
        try:
            async with asyncio.timeout(entry.idle_timeout_s):
                await reader.write(reply)
        except TimeoutError:
            raise Refusal(
                Reason.SESSION_EXPIRED,
                "the tokens were not read for too long",
                limit=entry.idle_timeout_s,
            ) from None
        if 0.0 < limits.max_life_s <= self._engine.now_s() - entry.opened_s:
            raise Refusal(Reason.SESSION_TOO_OLD, "the session has reached its maximum life")

    def _model(self, request: v1.GenerateRequest) -> Model:
        if request.session_id:
            model = self._engine.session(request.session_id).model
            named = (request.model or model.spec.name, request.version or model.spec.version)
            if named != (model.spec.name, model.spec.version):
                raise Refusal(
                    Reason.UNKNOWN_MODEL, f"the session is one of {model.spec.name}", field="model"
                )
        else:
            model = self._engine.model(request.model, request.version)
        if not model.spec.predicts_tokens:
            raise Refusal(
                Reason.CANNOT_GENERATE,
                f"{model.spec.name} doesn't take a token and give a score for each token",
            )
        return model

    def _entry(self, request: v1.GenerateRequest, model: Model) -> Entry:
        """The session to be moved: the request's, a fork of it, or one of the call's own."""
        if not request.session_id:
            return self._engine.open(model, held=True)
        # The prompt's encoding may have taken a while.
        entry = self._engine.session(request.session_id)
        return self._engine.fork_now(entry) if request.fork else entry

    def _discard(self, entry: Entry, pieces: Pieces, cause: Cause) -> None:
        """Close the session now or, while its last run is under way, right after it."""
        discard = partial(self._engine.discard, entry.session.id, cause)
        if entry.session.generating:
            pieces.on_end = discard
        else:
            discard()

    def _decoder(self, model: Model) -> Decoder | None:
        tokenizer = self._tokenizers.get(model)
        return tokenizer.decoder() if tokenizer else None

    async def _prompt(self, model: Model, request: v1.GenerateRequest) -> np.ndarray:
        """The prompt's tokens (T,); only a session that goes on may have none."""
        tensor = model.spec.inputs[0]
        if request.WhichOneof("prompt") == "text":
            ids = await self._encode(model, request.text)
        else:
            count = len(request.tokens.ids)
            if count > MAX_PROMPT_TOKENS:
                raise Refusal(
                    Reason.CHUNK_TOO_LONG,
                    f"a prompt of {count} tokens; at most {MAX_PROMPT_TOKENS}",
                    limit=MAX_PROMPT_TOKENS,
                )
            ids = list(request.tokens.ids)
        if not ids:
            if request.session_id:
                return np.zeros(0, tensor.dtype)
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

    async def _encode(self, model: Model, text: str) -> list[int]:
        tokenizer = self._tokenizers.get(model)
        if tokenizer is None:
            raise Refusal(
                Reason.CANNOT_GENERATE,
                f"{model.spec.name} has no tokenizer: send the prompt as tokens",
            )
        if len(text) > MAX_PROMPT_CHARACTERS:
            raise Refusal(
                Reason.CHUNK_TOO_LONG,
                f"a prompt of {len(text)} characters; at most {MAX_PROMPT_CHARACTERS}",
                limit=MAX_PROMPT_CHARACTERS,
            )
        if len(text) <= LOOP_PROMPT_CHARACTERS:
            return tokenizer.encode(text)
        return await asyncio.to_thread(tokenizer.encode, text)


def read_sampling(message: v1.Sampling) -> Sampling:
    """The request's sampling with the defaults filled in. Raises Refusal (bad_sampling)."""
    if len(message.stop) > MAX_STOPS or len(message.stop_tokens) > MAX_STOP_TOKENS:
        raise Refusal(
            Reason.BAD_SAMPLING,
            f"{len(message.stop)} stop texts and {len(message.stop_tokens)} stop tokens; "
            f"at most {MAX_STOPS} and {MAX_STOP_TOKENS}",
            field="stop",
        )
    penalty = message.repetition_penalty if message.HasField("repetition_penalty") else 1.0
    return Sampling(
        seed=message.seed if message.HasField("seed") else secrets.randbits(32),
        max_tokens=message.max_tokens or MAX_TOKENS,
        temperature=message.temperature if message.HasField("temperature") else 1.0,
        top_k=message.top_k,
        top_p=message.top_p if message.HasField("top_p") else 1.0,
        stop=tuple(message.stop),
        stop_tokens=tuple(message.stop_tokens),
        repetition_penalty=penalty,
        logprobs=message.logprobs,
    )
