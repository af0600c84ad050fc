"""Sessions that go on from another client, and through connections that break."""

import asyncio
from collections.abc import Sequence

import numpy as np

from laws.load_acts import Step
from laws.load_life import TURNS, Life
from laws.load_twin import Twin, close
from raw_session import logits, refusal, step
from rnnserve.client import TRANSPORT, AsyncClient, AsyncSession, ServerError
from rnnserve.errors import Reason
from small_models import V

Chain = tuple[Twin, list[np.ndarray]]
"""Where a session stands after some chunks, and the answer to each."""


async def goes_through_a_breaking_connection(life: Life) -> None:
    """The client sends again what was under way when the connection broke."""
    guest = life.world.adopt(life, life.world.brittle)
    chunks = [life.tokens() for _ in range(life.rng.choice((1, 3, 8)))]
    tasks = [asyncio.create_task(Step(chunk).send(guest)) for chunk in chunks]
    replies = await asyncio.gather(*tasks, return_exceptions=True)
    await _make_good(life, chunks, replies)


async def loses_its_client(life: Life) -> None:
    """Closed with its connection while steps are under way; another client goes on."""
    chunks = [life.tokens() for _ in range(life.rng.choice((1, 3, 8)))]
    async with AsyncClient(life.world.target) as client:
        guest = life.world.adopt(life, client)
        tasks = [asyncio.create_task(Step(chunk).send(guest)) for chunk in chunks]
        for _ in range(life.rng.choice(TURNS)):
            await asyncio.sleep(0)
    replies = await asyncio.gather(*tasks, return_exceptions=True)
    await _make_good(life, chunks, replies)


async def moves_to_a_copy(life: Life) -> None:
    """Exported, and restored by another client: two sessions from then on."""
    export = life.exporting()
    (blob,) = await life.do([export])
    life.world.blobs[life.model_name] = blob
    client = life.rng.choice(life.world.clients)
    restoring = client.restore(life.model_name, blob)
    try:
        copy = await life.world.room.made(life.model_name, 1, restoring.__aenter__)
    except ServerError as error:
        if error.reason == Reason.TOO_MANY_SESSIONS:
            return
        raise
    twins = [twin.restored() for twin in export.places]
    life.world.start(Held(life, client, copy, twins, restoring))


class Held(Life):
    """A restored session; what it was entered by is kept, so that it isn't left before its end."""

    def __init__(
        self,
        parent: Life,
        client: AsyncClient,
        session: AsyncSession,
        twins: list[Twin],
        entered: object,
    ) -> None:
        super().__init__(parent.world, parent.born(), client, session, twins)
        self._entered = entered


async def _make_good(life: Life, chunks: Sequence[list[int]], replies: Sequence[object]) -> None:
    """Send again by hand, in their order, what has no answer. A frame of the old connection may
    come later still: the same steps then, at the same indices, which nobody takes twice."""
    chains = [_chain(twin, chunks) for twin in life.twins]
    ledger = life.world.room.ledgers[life.model_name]
    index = life.index
    for number, (chunk, reply) in enumerate(zip(chunks, replies, strict=True)):
        answer = reply
        if isinstance(reply, ServerError):
            reasons = (TRANSPORT, Reason.OVERLOADED, Reason.INDEX_GAP)
            assert reply.reason in reasons, reply
            life.world.tally[f"a step in a visit: {reply.reason}"] += 1
            answer = await _insist(life, index, chunk)
        elif isinstance(reply, BaseException):
            raise reply
        chains = [chain for chain in chains if close(answer, chain[1][number])]
        assert chains, f"a wrong answer to chunk {number} of {len(chunks)}"
        index += len(chunk)
    # By hand, and once by the client itself.
    ledger.resent_perhaps += 3 * len(chunks)
    life.twins = [twin for twin, _ in chains]
    life.last = None
    await life.find()


async def _insist(life: Life, index: int, chunk: list[int]) -> np.ndarray:
    """Until there is room for it."""
    while True:
        (event,) = await life.world.exchange(step(life.session.id, index, chunk))
        if event.WhichOneof("kind") == "stepped":
            return logits(event, V)
        assert refusal(event)[1] == Reason.OVERLOADED
        # What the server asks of those it has no room for.
        await asyncio.sleep(0.01)


def _chain(twin: Twin, chunks: Sequence[list[int]]) -> Chain:
    answers = []
    for chunk in chunks:
        twin, answer = twin.fed(chunk)
        answers.append(answer)
    return twin, answers
