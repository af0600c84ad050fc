"""What observing costs: the server's way from a frame to its answer without gRPC, once counted as
the server counts and once not at all, by turns in one engine.

Without gRPC, since what gRPC takes varies by more from round to round than counting costs; so the
difference is set against what a step takes the whole server.
"""

import asyncio
import gc
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number
from rich.console import Console
from rich.progress import track
from rich.table import Table

from rnnserve_bench.in_process import TalkingCrowd
from rnnserve_bench.models import MAIN, build, repository_of

ROWS = 64


@dataclass(frozen=True)
class Way:
    """How the steps of the sessions are sent."""

    name: str
    streams: int
    served_us: float
    """A step of it, gRPC included, on one core: `RESULTS.md`."""


WAYS = (Way("one frame of all", 1, 18.9), Way("a stream for each", ROWS, 63.5))


def observing(
    *,
    rounds: Annotated[int, Parameter(validator=Number(gte=3))] = 1500,
    round_steps: Annotated[int, Parameter(validator=Number(gte=1))] = 4,
) -> None:
    """Compare counting with not counting, in pairs of rounds that take turns.

    Parameters
    ----------
    rounds
        Pairs of rounds for each way of sending.
    round_steps
        Steps of every session in each round.
    """
    table = Table(
        title=f"{ROWS} sessions of a 2 x 256 LSTM, in process, us a step",
        caption="in brackets the middle half of the pairs",
    )
    for head in ("", "not counted", "counted", "difference", "served, gRPC too", "share of that"):
        table.add_column(head, justify="right")
    with tempfile.TemporaryDirectory() as folder:
        build(Path(folder), MAIN)
        repository = repository_of(Path(folder), MAIN)
        for way in WAYS:
            pairs = asyncio.run(_measure(repository, way, rounds, round_steps))
            table.add_row(*_row(way, pairs))
    Console().print(table)


def _row(way: Way, pairs: list[tuple[float, float]]) -> tuple[str, ...]:
    blank_us, counted_us = (1e6 * median(pair[place] for pair in pairs) for place in (0, 1))
    more_us = sorted(1e6 * (counted - blank) for blank, counted in pairs)
    quarter = len(more_us) // 4
    middle_us = median(more_us)
    return (
        way.name,
        f"{blank_us:.2f}",
        f"{counted_us:.2f}",
        f"{middle_us:+.2f} ({more_us[quarter]:+.2f}..{more_us[-1 - quarter]:+.2f})",
        f"{way.served_us:.1f}",
        f"{100 * middle_us / way.served_us:.1f} %",
    )


async def _measure(
    repository: Path, way: Way, rounds: int, round_steps: int
) -> list[tuple[float, float]]:
    """Seconds a step of pairs of rounds, not counted and counted."""
    crowd = TalkingCrowd(repository, MAIN.name, ROWS, way.streams)
    gc.freeze()
    pairs = []
    for number in track(range(rounds + 1), description=way.name, transient=True):
        order = (False, True) if number % 2 else (True, False)
        took_s = {counted: await _round(crowd, round_steps, counted) for counted in order}
        # The first pair is for warming up.
        if number:
            pairs.append((took_s[False], took_s[True]))
    gc.unfreeze()
    return pairs


async def _round(crowd: TalkingCrowd, steps: int, counted: bool) -> float:
    """Seconds a step of a session: of this thread's own time, whatever else the machine does."""
    sent = [crowd.frames() for _ in range(steps)]
    began_s = time.thread_time()
    for frames in sent:
        await crowd.step(frames, counted=counted)
    return (time.thread_time() - began_s) / (steps * ROWS)
