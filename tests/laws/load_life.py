"""One session's life under load: what is done with it is drawn, and every answer is checked."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np

from laws.load_acts import Act, Export, Fork, Reset, Step, settle, together
from laws.load_twin import Twin, random_rows
from raw_session import logits, refusal, reset, step
from rnnserve.client import AsyncClient, AsyncSession, ServerError
from rnnserve.errors import Reason
from small_models import V

if TYPE_CHECKING:
    from laws.load_world import World

TURNS = (0, 0, 1, 2, 3, 5, 8, 20, 60, 150)
"""After how many turns of the loop a caller is cancelled."""


class Life:
    """A session, and where it may stand."""

    def __init__(
        self,
        world: "World",
        name: str,
        client: AsyncClient,
        session: AsyncSession,
        twins: list[Twin],
    ) -> None:
        self.world = world
        self.name = name
        self.client = client
        self.session = session
        self.twins = twins
        self.model = twins[0].model
        self.model_name = self.model.spec.name
        self.rng = Random(f"{world.seed} {name}")
        self.started_at = session.index
        self.children = 0
        self.last: tuple[int, list[int], np.ndarray] | None = None
        """A chunk whose answer the server still keeps."""
        self._diary: deque[str] = deque(maxlen=12)
        self.keep(session.index)

    async def live(self, deeds: dict[Callable[["Life"], Awaitable[None]], int]) -> None:
        """So many deeds by their weights, and the end."""
        try:
            depth = self.name.count(".")
            for _ in range(self.rng.randint(2, max(3, 14 - 5 * depth))):
                (deed,) = self.rng.choices(list(deeds), list(deeds.values()))
                self.note(deed.__name__)
                self.world.tally[deed.__name__] += 1
                await deed(self)
            self.note("ends")
            await self._end()
        except Exception as error:
            error.add_note(f"seed {self.world.seed}, session {self.name}: {list(self._diary)}")
            raise

    def note(self, word: str) -> None:
        self._diary.append(word)

    @property
    def index(self) -> int:
        return self.twins[0].index

    @property
    def has_scores(self) -> bool | None:
        """Whether a generation may go on without a prompt; None where that can't be known."""
        known = {twin.scores is not None for twin in self.twins}
        return known.pop() if len(known) == 1 else None

    def keep(self, index: int) -> None:
        """The session stands here, its server says."""
        places = sorted({twin.index for twin in self.twins})
        self.twins = [twin for twin in self.twins if twin.index == index]
        assert self.twins, f"it stands at {index}, and may only stand at {places}"

    async def find(self) -> None:
        """Ask where it stands."""
        self.keep(await self.session.locate())

    def tokens(self, most: int = 200) -> list[int]:
        """Of any length, weighted to 1."""
        longest = self.rng.choices((1, 16, 64, most), (70, 20, 7, 3))[0]
        return [self.rng.randrange(V) for _ in range(self.rng.randint(1, longest))]

    def start(self) -> Reset:
        """Zeros, a given carry, or one from a seed."""
        seed = self.rng.randrange(1000)
        match self.rng.randrange(3):
            case 0:
                return Reset(None)
            case 1:
                return Reset(random_rows(self.model, seed))
            case _:
                return Reset(random_rows(self.model, seed), seed)

    async def do(self, acts: Sequence[Act], cuts: Sequence[tuple[int, int]] = ()) -> list[Any]:
        """Ask for all of them at once, and find out where that leads."""
        replies = await together(self.session, acts, cuts)
        self.twins = settle(self.twins, acts, replies)
        if cuts:
            await self.find()
        else:
            self.keep(self.session.index)
        for act, reply in zip(acts, replies, strict=True):
            if not isinstance(act, Fork):
                self.world.heard(reply)
            elif act.places:
                self._fork_off(act, reply)
        return replies

    def forking(self, count: int) -> Fork:
        return Fork(count, partial(self.world.room.made, self.model_name, count))

    def exporting(self) -> Export:
        return Export(self.world.fingerprints[self.model_name])

    def born(self) -> str:
        self.children += 1
        return f"{self.name}.{self.children}"

    def _fork_off(self, act: Fork, sessions: Any) -> None:
        for session in sessions:
            self.world.start(Life(self.world, self.born(), self.client, session, act.places))

    async def _end(self) -> None:
        """Closed, with steps under way or without; it says how many it took."""
        acts = [Step(self.tokens()) for _ in range(self.rng.choice((0, 0, 1, 4)))]
        steps = asyncio.gather(*(act.send(self.session) for act in acts), return_exceptions=True)
        # The steps begin with the next turn of the loop.
        await asyncio.sleep(0)
        total = await self.session.close()
        self.twins = settle(self.twins, acts, await steps)
        self.keep(total)
        self.world.room.freed(1)
        self.world.room.ledgers[self.model_name].steps += total - self.started_at


async def steps_alone(life: Life) -> None:
    index, sent = life.index, life.tokens()
    (reply,) = await life.do([Step(sent)])
    if not isinstance(reply, ServerError):
        life.last = index, sent, reply


async def steps_in_a_hurry(life: Life) -> None:
    timeout_s = life.rng.choice((1e-6, 1e-4, 5e-4, 1e-3, 5e-3))
    await life.do([Step(life.tokens(), timeout_s)])
    life.last = None


async def asks_for_much_at_once(life: Life) -> None:
    """Steps, and now and then another act among them; some are cancelled."""
    acts: list[Act] = []
    for _ in range(life.rng.choice((2, 3, 5, 8, 8, 40))):
        match life.rng.choices(("step", "fork", "export", "reset"), (80, 3, 6, 6))[0]:
            case "fork":
                acts.append(life.forking(life.rng.choice((1, 1, 2, 5))))
            case "export":
                acts.append(life.exporting())
            case "reset":
                acts.append(life.start())
            case _:
                acts.append(Step(life.tokens(most=120)))
    count = life.rng.choice((0, 0, 1, 2))
    cuts = [(life.rng.randrange(len(acts)), life.rng.choice(TURNS)) for _ in range(count)]
    life.note(f"{len(acts)} acts, cuts {cuts}")
    await life.do(acts, cuts)
    life.last = None


async def resets(life: Life) -> None:
    """And once more, late: it is answered again and forgets nothing; another one is refused."""
    index, start = life.index, life.start()
    await life.do([start])
    await life.do([Step(life.tokens())])
    life.last = None
    if life.index == index:
        return  # overloaded: there is nothing yet that could be forgotten
    other = Reset(random_rows(life.model, 1001), 1001)
    same, another = await life.world.exchange(
        *(reset(life.session.id, index, carry=one.message()) for one in (start, other))
    )
    assert same.was_reset.index == index, same
    assert refusal(another)[1] == Reason.OTHER_INPUT
    await life.do([Step(life.tokens())])


async def sends_again(life: Life) -> None:
    """What was answered, by hand and on another connection: the same answer to the bit."""
    if life.last is None:
        return
    index, sent, answer = life.last
    (event,) = await life.world.exchange(step(life.session.id, index, sent))
    assert np.array_equal(logits(event, V), answer)
    life.world.room.ledgers[life.model_name].resent += 1


async def sends_twice_at_once(life: Life) -> None:
    """From two connections: whoever comes second hears the same, and it happens once."""
    sent = life.tokens()
    raw = asyncio.create_task(life.world.exchange(step(life.session.id, life.index, sent)))
    (reply,) = await together(life.session, [Step(sent)])
    (event,) = await raw
    answers = [] if isinstance(reply, BaseException) else [reply]
    if event.WhichOneof("kind") == "stepped":
        answers.append(logits(event, V))
    else:
        assert refusal(event)[1] == Reason.OVERLOADED
    if isinstance(reply, BaseException):
        assert isinstance(reply, ServerError)
        assert reply.reason == Reason.OVERLOADED
    if answers:
        assert np.array_equal(answers[0], answers[-1])
        life.twins = settle(life.twins, [Step(sent)], answers[:1])
        life.world.room.ledgers[life.model_name].resent += len(answers) - 1
    await life.find()
    life.last = None
