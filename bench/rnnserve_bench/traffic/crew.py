"""The processes that make the load, and what they say while they do."""

import asyncio
import gc
import multiprocessing
import os
import signal
import time
import traceback
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

import numpy as np

from rnnserve_bench.cores import pinned
from rnnserve_bench.errors import BenchProblem
from rnnserve_bench.traffic.book import ANSWERED, Book, Rows
from rnnserve_bench.traffic.generator import Generator
from rnnserve_bench.traffic.plan import Plan
from rnnserve_bench.traffic.precise import PreciseSelector

OPEN_TIMEOUT_S = 120.0
END_TIMEOUT_S = 60.0
HEAD_START_S = 0.2
"""Between the word to begin and the beginning, so that all workers begin at the same moment."""
NEWS_EVERY_S = 0.5
NEWS_LATENCIES = 500
GO, STOP = "go", "stop"
READY, NEWS, DONE, PROBLEM = "ready", "news", "done", "problem"


@dataclass(frozen=True)
class News:
    """What a worker has seen since it last said something."""

    answered: int
    failed: int
    latencies_s: tuple[float, ...]
    """Of some of those that were answered."""


@dataclass(frozen=True)
class Outcome:
    """What all of them have seen."""

    rows: Rows
    span_s: float
    """From the first moment until nothing more was due."""
    busy: tuple[float, ...]
    """Each worker's share of a core."""
    lost_streams: int = 0
    """That had ended, and weren't back, when the time was over."""
    start_s: float = 0.0
    """The first moment, on the monotonic clock, which all processes share."""


Listener = Callable[[list[News], float], None]
Told = tuple[Rows, float, float, int]
"""Of a worker at its end: rows, seconds, share of a core, streams that were lost."""


def run_load(
    plan: Plan, *, workers: int = 1, core: int | None = None, listen: Listener | None = None
) -> Outcome:
    """Make the load, from processes of its own.

    `listen` hears about twice a second what is new and how long it has run, in seconds. Ctrl-C
    ends the load early; what came until then is returned. Raises BenchProblem.
    """
    plans = [plan.share(place, workers) for place in range(workers)]
    context = multiprocessing.get_context("spawn")
    pipes, processes = [], []
    try:
        for part in plans:
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(theirs, part), daemon=True)
            with pinned(core) if core is not None else nullcontext():
                process.start()
            theirs.close()
            pipes.append(ours)
            processes.append(process)
        return _direct(pipes, plan, listen)
    finally:
        for pipe in pipes:
            pipe.close()
        for process in processes:
            process.join(2.0)
            if process.is_alive():
                process.kill()
                process.join()


def _direct(pipes: list[Connection], plan: Plan, listen: Listener | None) -> Outcome:
    for pipe in pipes:
        _told(pipe, READY, OPEN_TIMEOUT_S)
    start_s = time.monotonic() + HEAD_START_S
    for pipe in pipes:
        pipe.send((GO, start_s))
    outcomes: dict[Connection, Told] = {}
    until_s = start_s + plan.duration_s + plan.settle_s + END_TIMEOUT_S
    while len(outcomes) < len(pipes):
        try:
            _hear(pipes, outcomes, start_s, listen)
            if time.monotonic() > until_s:
                raise BenchProblem("the load generator doesn't come to an end")
        except KeyboardInterrupt:
            for pipe in pipes:
                pipe.send((STOP, 0.0))
            until_s = min(until_s, time.monotonic() + END_TIMEOUT_S)
    rows, spans_s, busy, lost = zip(*outcomes.values(), strict=True)
    return Outcome(Rows.joined(rows), min(spans_s), busy, sum(lost), start_s)


def _hear(
    pipes: list[Connection],
    outcomes: dict[Connection, Told],
    start_s: float,
    listen: Listener | None,
) -> None:
    news = []
    for pipe in wait([pipe for pipe in pipes if pipe not in outcomes], timeout=1.0):
        assert isinstance(pipe, Connection)
        kind, what = _told(pipe, None, 0.0)
        if kind == DONE:
            outcomes[pipe] = what
        elif kind == NEWS:
            news.append(what)
    if news and listen is not None:
        listen(news, time.monotonic() - start_s)


def _told(pipe: Connection, kind: str | None, timeout_s: float) -> tuple[str, Any]:
    """What a worker says next. Raises BenchProblem for a problem, or for its silence."""
    try:
        if not pipe.poll(timeout_s):
            raise BenchProblem(f"the load generator said nothing for {timeout_s:.0f} s")
        said, what = pipe.recv()
    except (EOFError, OSError):
        raise BenchProblem("the process that made the load has died") from None
    if said == PROBLEM:
        text, trace = what
        problem = BenchProblem(text)
        problem.add_note(trace)
        raise problem
    assert kind is None or said == kind
    return said, what


# ---- the worker's side -----------------------------------------------------------


def _work(pipe: Connection, plan: Plan) -> None:
    # The parent hears Ctrl-C and says when to stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["GRPC_VERBOSITY"] = "ERROR"
    loop = asyncio.SelectorEventLoop(PreciseSelector())
    asyncio.set_event_loop(loop)
    try:
        loop.run_until_complete(_generate(pipe, plan))
    except (BrokenPipeError, EOFError):
        return  # the parent has gone
    except BenchProblem as problem:
        pipe.send((PROBLEM, (str(problem), traceback.format_exc())))
    except Exception as error:
        text = f"the load generator failed: {type(error).__name__}: {error}"
        pipe.send((PROBLEM, (text, traceback.format_exc())))


async def _generate(pipe: Connection, plan: Plan) -> None:
    book, stop = Book(), asyncio.Event()
    generator = Generator(plan, book)
    await generator.open()
    pipe.send((READY, None))
    start_s = await _word_to_go(pipe)
    asyncio.get_running_loop().add_reader(pipe.fileno(), stop.set)
    gc.collect()
    gc.freeze()
    telling = asyncio.create_task(_tell(pipe, book))
    cpu_s = time.process_time()
    await generator.run(start_s, stop)
    span_s = min(time.monotonic() - start_s, plan.duration_s)
    busy = (time.process_time() - cpu_s) / max(time.monotonic() - start_s, 1e-9)
    telling.cancel()
    asyncio.get_running_loop().remove_reader(pipe.fileno())
    await generator.close()
    pipe.send((DONE, (book.rows(), span_s, busy, generator.lost_streams)))


async def _word_to_go(pipe: Connection) -> float:
    """The moment at which to begin. Raises EOFError when the parent has gone."""
    come = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(pipe.fileno(), come.set)
    await come.wait()
    loop.remove_reader(pipe.fileno())
    _, start_s = pipe.recv()
    return float(start_s)


async def _tell(pipe: Connection, book: Book) -> None:
    while True:
        await asyncio.sleep(NEWS_EVERY_S)
        rows = book.news()
        answered = rows.of(ANSWERED).latency_s
        some = answered[:: max(1, len(answered) // NEWS_LATENCIES)]
        failed = len(rows) - len(answered)
        pipe.send((NEWS, News(len(answered), failed, tuple(np.round(some, 6).tolist()))))
