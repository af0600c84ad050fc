"""What observing costs: the server's way from a frame to its answer without gRPC, once counted as
the server counts and once not at all, by turns in one engine.

Without gRPC, since what gRPC takes varies by more from round to round than counting costs. The
difference is set against what a step takes a whole server, in windows between the rounds: all are
processor time, on one core, in one run, so that a slow machine is slow for all of them.
"""

import gc
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number
from rich.console import Console
from rich.progress import track
from rich.table import Table

from rnnserve_bench import served
from rnnserve_bench.contest import Run
from rnnserve_bench.cores import choose_cores, pinned
from rnnserve_bench.echo_server import ITERATE
from rnnserve_bench.frame_load import FrameShape
from rnnserve_bench.in_process import TalkingCrowd
from rnnserve_bench.load import Span
from rnnserve_bench.models import MAIN
from rnnserve_bench.rig import Rig
from rnnserve_bench.terms import Terms
from rnnserve_bench.triton import CACHE

ROWS = 64
WINDOW = Span(warm_s=0.3, measure_s=1.0)
Pairs = list[tuple[float, float]]
"""Seconds a step, not counted and counted."""


@dataclass(frozen=True)
class Way:
    """How the steps of the sessions are sent."""

    name: str
    streams: int
    whole: Callable[[Terms], Run]
    """The same with gRPC: to a server."""


WAYS = (
    Way("one frame of all", 1, lambda terms: served.frames(terms, MAIN, FrameShape(ROWS, 2))),
    Way("a stream for each", ROWS, lambda terms: served.streams(terms, MAIN, ROWS)),
)


def observing(
    *,
    turns: Annotated[int, Parameter(validator=Number(gte=1))] = 8,
    pairs: Annotated[int, Parameter(validator=Number(gte=2))] = 250,
) -> None:
    """Compare counting with not counting. Two cores are needed, and a few minutes.

    Parameters
    ----------
    turns
        Windows of a whole server, each followed by pairs of rounds in process.
    pairs
        Of rounds, one counted and one not, in each turn.
    """
    table = Table(
        title=f"{ROWS} sessions of a 2 x 256 LSTM, us of the processor a step",
        caption="in brackets the middle half of the pairs",
    )
    for head in ("", "not counted", "counted", "difference", "served, with gRPC", "share of that"):
        table.add_column(head, justify="right")
    cores = choose_cores()
    with (
        tempfile.TemporaryDirectory(prefix="rnnserve-bench-") as folder,
        pinned(cores.client),
        Rig(cores, Path(folder), CACHE) as rig,
    ):
        terms = Terms(rig, WINDOW, ITERATE, tokens=1, sessions=1)
        for way in WAYS:
            table.add_row(*_row(way, terms, turns, pairs))
    Console().print(table)


def _row(way: Way, terms: Terms, turns: int, pairs: int) -> tuple[str, ...]:
    whole, repository = way.whole(terms), terms.rig.repository(MAIN)
    found: Pairs = []
    whole_us: list[float] = []
    for _ in track(range(turns), description=way.name, transient=True):
        whole_us.append(whole().server_step_us)
        found += terms.rig.on_server_core.call(measure, repository, way.streams, pairs)
    blank_us, counted_us = (1e6 * median(pair[place] for pair in found) for place in (0, 1))
    more_us = sorted(1e6 * (counted - blank) for blank, counted in found)
    quarter = len(more_us) // 4
    return (
        way.name,
        f"{blank_us:.2f}",
        f"{counted_us:.2f}",
        f"{median(more_us):+.2f} ({more_us[quarter]:+.2f}..{more_us[-1 - quarter]:+.2f})",
        f"{median(whole_us):.1f}",
        f"{100 * median(more_us) / median(whole_us):.1f} %",
    )


async def measure(repository: Path, streams: int, pairs: int, round_steps: int = 4) -> Pairs:
    """Pairs of rounds in which every session takes so many steps."""
    crowd = TalkingCrowd(repository, MAIN.name, ROWS, streams)
    gc.freeze()
    found = []
    for number in range(pairs + 1):
        order = (False, True) if number % 2 else (True, False)
        took_s = {counted: await _round(crowd, round_steps, counted) for counted in order}
        # The first pair is for warming up.
        if number:
            found.append((took_s[False], took_s[True]))
    gc.unfreeze()
    return found


async def _round(crowd: TalkingCrowd, steps: int, counted: bool) -> float:
    """Seconds a step of a session, of this thread's time alone."""
    sent = [crowd.frames() for _ in range(steps)]
    began_s = time.thread_time()
    for frames in sent:
        await crowd.step(frames, counted=counted)
    return (time.thread_time() - began_s) / (steps * ROWS)
