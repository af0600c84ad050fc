"""What observing costs: the server's way from a frame to its answer without gRPC, once counted as
the server counts and once not at all, by turns in one process."""

import asyncio
import gc
import tempfile
import time
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


def observing(
    *,
    rounds: Annotated[int, Parameter(validator=Number(gte=3))] = 500,
    round_steps: Annotated[int, Parameter(validator=Number(gte=1))] = 5,
) -> None:
    """Compare counting with not counting, in pairs of rounds that take turns.

    Parameters
    ----------
    rounds
        Pairs of rounds for each way of sending.
    round_steps
        Steps of every session in each round.
    """
    table = Table(title=f"{ROWS} sessions of a 2 x 256 LSTM, in process, us a step")
    for head in ("", "not counted", "counted", "difference", "least..most of the middle half"):
        table.add_column(head, justify="right")
    with tempfile.TemporaryDirectory() as folder:
        build(Path(folder), MAIN)
        repository = repository_of(Path(folder), MAIN)
        for streams in (1, ROWS):
            table.add_row(*_row(repository, streams, rounds, round_steps))
    Console().print(table)


def _row(repository: Path, streams: int, rounds: int, round_steps: int) -> tuple[str, ...]:
    found = asyncio.run(_measure(repository, streams, rounds, round_steps))
    ratios = sorted(counted / blank for blank, counted in found)
    quarter = len(ratios) // 4
    blank_us, counted_us = (1e6 * median(pair[place] for pair in found) for place in (0, 1))
    return (
        "one frame of all" if streams == 1 else "a stream for each",
        f"{blank_us:.2f}",
        f"{counted_us:.2f}",
        f"{(median(ratios) - 1) * blank_us:+.2f} us, {100 * (median(ratios) - 1):+.1f} %",
        f"{100 * (ratios[quarter] - 1):+.1f}..{100 * (ratios[-1 - quarter] - 1):+.1f} %",
    )


async def _measure(
    repository: Path, streams: int, rounds: int, round_steps: int
) -> list[tuple[float, float]]:
    """Seconds a step of pairs of rounds."""
    crowds = [
        TalkingCrowd(repository, MAIN.name, ROWS, streams, counted=counted)
        for counted in (False, True)
    ]
    gc.freeze()
    pairs = []
    what = "one frame" if streams == 1 else "streams"
    for number in track(range(rounds + 1), description=what, transient=True):
        order = (0, 1) if number % 2 else (1, 0)
        took_s = {place: await _round(crowds[place], round_steps) for place in order}
        # The first pair is for warming up.
        if number:
            pairs.append((took_s[0], took_s[1]))
    gc.unfreeze()
    return pairs


async def _round(crowd: TalkingCrowd, steps: int) -> float:
    """Seconds a step of a session: of this thread's own time, whatever else the machine does."""
    began_s = time.thread_time()
    for _ in range(steps):
        await crowd.step()
    return (time.thread_time() - began_s) / (steps * ROWS)
