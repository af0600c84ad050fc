"""Generations under load: greedy, so that the equations know every token."""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field

from laws.load_life import TURNS, Life
from laws.load_twin import Twin, distinct
from raw_session import refusal, step
from rnnserve.client import AsyncGeneration, ServerError
from rnnserve.errors import Reason
from small_models import V

ENDLESS = 20_000
"""Tokens that nobody waits for."""


@dataclass
class Talk:
    """What is asked of a generation, and what was heard of it."""

    prompt: list[int]
    max_tokens: int
    stop_tokens: list[int]
    leaves_after: int
    """Tokens after which nobody listens any more."""
    cancelled_after: int | None = None
    """Turns of the loop after which whoever listens is cancelled."""
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    error: ServerError | None = None

    @classmethod
    def drawn(cls, life: Life, *, may_be_silent: bool) -> "Talk":
        rng = life.rng
        prompt = [] if may_be_silent and rng.random() < 0.5 else life.tokens(most=300)
        most = rng.choice((1, 2, 10, 40, 400))
        stop = rng.sample(range(V), rng.choice((0, 0, 3)))
        leaves = rng.choice((0, 1, 5)) if rng.random() < 0.4 else most + 1
        cancelled = rng.choice(TURNS) if rng.random() < 0.15 else None
        return cls(prompt, most, stop, leaves, cancelled)

    @property
    def how(self) -> dict:
        return {
            "max_tokens": self.max_tokens,
            "stop_tokens": self.stop_tokens,
            "temperature": 0.0,
            "logprobs": True,
        }

    def places(self, twin: Twin, fed: int, max_chunk_steps: int) -> list[Twin]:
        """Where a session that stood at the twin may stand after so many inputs; none where what
        was heard, or that number, is wrong."""
        taken = fed - len(self.prompt)
        if taken < 0:
            # Nothing was said before the whole prompt was in; its chunks go in whole.
            right = not self.tokens and fed >= 0 and fed % max_chunk_steps == 0
            return [twin.after(self.prompt[:fed])] if right else []
        if not len(self.tokens) - 1 <= taken <= self.max_tokens:
            return []
        places = [twin.after(self.prompt)]
        for number in range(max(taken, len(self.tokens))):
            if number < len(self.tokens):
                token, logprob = self.tokens[number], self.logprobs[number]
                places = [place for place in places if place.says(token, logprob)]
                onward = [(place, token) for place in places]
            else:
                onward = [(place, token) for place in places for token in place.greedy()]
            if number < taken:
                places = distinct(place.after([token]) for place, token in onward)
        return places

    def is_whole(self) -> bool:
        """Whether it ended where it was to end, and said no more."""
        if set(self.tokens[:-1]) & set(self.stop_tokens):
            return False
        return len(self.tokens) == self.max_tokens or self.tokens[-1] in self.stop_tokens

    async def listen(self, generation: AsyncGeneration, *, breaks: bool) -> None:
        """Until the end, or until nobody wants more."""
        try:
            if breaks:
                async for piece in generation:
                    self._hear(piece)
                    if len(self.tokens) >= self.leaves_after:
                        break
                return
            async with aclosing(aiter(generation)) as pieces:
                async for piece in pieces:
                    self._hear(piece)
                    if len(self.tokens) >= self.leaves_after:
                        return
        except ServerError as error:
            self.error = error

    def _hear(self, piece) -> None:
        self.tokens += piece.tokens
        self.logprobs += piece.logprobs


async def generates(life: Life) -> None:
    """From where the session stands."""
    if life.has_scores is None:
        return
    talk = Talk.drawn(life, may_be_silent=True)
    life.note(f"{len(talk.prompt)} tokens, {talk.max_tokens}, leaves after {talk.leaves_after}")
    generation = life.session.generate(talk.prompt, **talk.how)
    await _listen(life, talk, generation)
    life.last = None
    if talk.error is not None:
        _check_error(life, talk)
    fed = await life.session.locate() - life.index
    if generation.end is None:
        _drawn_for_nobody(life)
    else:
        assert generation.end.index == life.index + fed
        _check_end(talk, generation, fed)
    life.twins = _moved(life, talk, fed)


async def generates_from_a_fork(life: Life) -> None:
    """The session stays; the fork lives on."""
    if not life.has_scores:
        return
    talk = Talk.drawn(life, may_be_silent=True)
    if talk.cancelled_after is not None:
        # Cancelled before its first message came, while its last one is on the way, nobody would
        # have heard of the fork, and it would live until it idles.
        talk.max_tokens, talk.stop_tokens = ENDLESS, []
    generation = life.session.generate(talk.prompt, fork=True, **talk.how)
    whole = await _counted(life, talk, generation)
    if whole:
        assert generation.fork is not None
        fed = generation.fork.index - life.index
        _check_end(talk, generation, fed)
        twins = _moved(life, talk, fed)
        child = Life(life.world, life.born(), life.client, generation.fork, twins)
        child.started_at = life.index
        life.world.start(child)
    await life.find()


async def generates_alone(life: Life) -> None:
    """A session of the call's own, from zeros."""
    talk = Talk.drawn(life, may_be_silent=False)
    generation = life.client.generate(life.model_name, talk.prompt, **talk.how)
    if not await _counted(life, talk, generation):
        return
    life.world.room.freed(1)
    fed = len(talk.prompt) + len(talk.tokens) - 1
    assert talk.is_whole()
    assert talk.places(Twin.fresh(life.model), fed, life.session.limits.max_chunk_steps)
    # The last token is drawn, and counted, but taken by nobody.
    life.world.room.ledgers[life.model_name].steps += fed + 1


async def is_busy_while_it_generates(life: Life) -> None:
    """A step meanwhile, from another connection, is refused and changes nothing."""
    talk = Talk(life.tokens(), 400, [], leaves_after=300)
    generation = life.session.generate(talk.prompt, **talk.how)
    reason = None
    async with aclosing(aiter(generation)) as pieces:
        with suppress(ServerError):  # overloaded
            async for piece in pieces:
                talk._hear(piece)
                (event,) = await life.world.exchange(step(life.session.id, 2**62, [1]))
                reason = refusal(event)[1]
                break
    fed = await life.session.locate() - life.index
    _drawn_for_nobody(life)
    # It may have been over before the step came.
    over = fed == len(talk.prompt) + talk.max_tokens
    assert reason in (None, Reason.SESSION_BUSY) or (over and reason == Reason.INDEX_GAP)
    life.twins = _moved(life, talk, fed)
    life.last = None


async def _listen(life: Life, talk: Talk, generation: AsyncGeneration) -> None:
    """To the end, or left in one of three ways: by a break, by closing, by a cancel."""
    listening = asyncio.create_task(talk.listen(generation, breaks=life.rng.random() < 0.5))
    if talk.cancelled_after is not None:
        for _ in range(talk.cancelled_after):
            await asyncio.sleep(0)
        listening.cancel()
    with suppress(asyncio.CancelledError):
        await listening


async def _counted(life: Life, talk: Talk, generation: AsyncGeneration) -> bool:
    """Listen to one that makes a session; returns whether it came to its end."""

    async def whole() -> None:
        await _listen(life, talk, generation)
        if talk.error is not None:
            raise talk.error
        if generation.end is None:
            raise asyncio.CancelledError

    try:
        await life.world.room.made(life.model_name, 1, whole)
    except ServerError as error:
        if error.reason not in (Reason.OVERLOADED, Reason.TOO_MANY_SESSIONS):
            raise
        if error.reason == Reason.OVERLOADED:
            _perhaps(life, talk, opened=1)
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        life.world.tally["generation left"] += 1
        _perhaps(life, talk, opened=0)
    else:
        return True
    return False


def _perhaps(life: Life, talk: Talk, opened: int) -> None:
    ledger = life.world.room.ledgers[life.model_name]
    ledger.opened_perhaps += opened
    ledger.steps_perhaps += len(talk.prompt) + talk.max_tokens


def _drawn_for_nobody(life: Life) -> None:
    """One that was left may have drawn, and counted, a token that was never taken."""
    life.world.room.ledgers[life.model_name].steps_perhaps += 1


def _moved(life: Life, talk: Talk, fed: int) -> list[Twin]:
    longest = life.session.limits.max_chunk_steps
    twins = distinct(place for twin in life.twins for place in talk.places(twin, fed, longest))
    said: Sequence[int] = talk.tokens
    assert twins, f"after {fed} inputs: {len(talk.prompt)} of the prompt, and {said} were said"
    return twins


def _check_end(talk: Talk, generation: AsyncGeneration, fed: int) -> None:
    assert generation.end is not None
    assert talk.is_whole()
    assert generation.end.generated_tokens == len(talk.tokens) == fed - len(talk.prompt)


def _check_error(life: Life, talk: Talk) -> None:
    assert talk.error is not None
    life.world.heard(talk.error)
    silent = not talk.prompt and not life.has_scores
    wanted = Reason.EMPTY_CHUNK if silent else Reason.OVERLOADED
    assert talk.error.reason == wanted, talk.error
    assert not talk.tokens
