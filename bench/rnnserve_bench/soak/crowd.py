"""All the traffic of a soak, from one process, until it is told to end."""

import asyncio
import threading
from collections import Counter
from random import Random

from rnnserve_bench.channels import open_channels
from rnnserve_bench.errors import BenchProblem
from rnnserve_bench.soak import actors, oddities
from rnnserve_bench.soak.actors import Actor, Stage

ROLES: dict[str, tuple[Actor, int]] = {
    "steps": (actors.steps, 6),
    "forks": (actors.forks, 2),
    "generations": (actors.generates, 2),
    "sequences": (actors.infers, 2),
    "slow readers": (oddities.reads_slowly, 2),
    "vanishing clients": (oddities.vanishes, 2),
    "cancellations": (oddities.cancels, 2),
    "nonsense": (oddities.talks_nonsense, 2),
    "rubbish": (oddities.sends_rubbish, 1),
}
"""Each role's part, and how many play it at once."""
PAUSE_S = 0.03
"""Between two performances of one actor, on average."""
PART_TIMEOUT_S = 30.0


class Crowd:
    """A thread with a loop of its own; `close` ends it and waits for the last performances."""

    def __init__(self, target: str, model: str, seed: int) -> None:
        self._target, self._model, self._seed = target, model, seed
        self.performances: Counter[str] = Counter()
        self.problems: Counter[str] = Counter()
        """What went wrong, by role and text."""
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="crowd")

    def __enter__(self) -> "Crowd":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            asyncio.run(self._perform())
        except (OSError, TimeoutError) as error:
            self.problems[f"the crowd can't connect: {error!r}"] += 1

    async def _perform(self) -> None:
        async with open_channels(self._target, "light") as (channel,):
            rng = Random(self._seed)
            async with asyncio.TaskGroup() as group:
                for role, (actor, count) in ROLES.items():
                    for place in range(count):
                        own = Random(rng.random())
                        number = 1_000_000 * (place + 1)
                        stage = Stage(self._target, self._model, channel, own, number)
                        group.create_task(self._repeat(role, actor, stage))

    async def _repeat(self, role: str, actor: Actor, stage: Stage) -> None:
        while not self._over.is_set():
            try:
                async with asyncio.timeout(PART_TIMEOUT_S):
                    await actor(stage)
            except (BenchProblem, OSError, TimeoutError) as error:
                self.problems[f"{role}: {error or type(error).__name__}"] += 1
            self.performances[role] += 1
            await asyncio.sleep(stage.rng.expovariate(1 / PAUSE_S))
