"""`python -m rnnserve_bench soak`."""

import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
from cyclopts import Parameter
from cyclopts.validators import Number
from rich.console import Console

from rnnserve.client import Client
from rnnserve_bench import models, raw
from rnnserve_bench.cores import choose_cores
from rnnserve_bench.errors import BenchProblem
from rnnserve_bench.models import BenchModel
from rnnserve_bench.process import RnnServer
from rnnserve_bench.soak.crowd import Crowd
from rnnserve_bench.soak.drift import LEAST_SAMPLES
from rnnserve_bench.soak.observing import Look, Observer, drifts
from rnnserve_bench.soak.probe import probe
from rnnserve_bench.soak.report import Soak, show, write
from rnnserve_bench.worker import Worker

MODEL = BenchModel("lstm", 1, 128)
PROBED = 64
"""Steps of a probe's session."""
IDLE_TIMEOUT_S = 2.0
SETTLE_S = 20.0
LEFT_OVER = 3
"""Tasks and files more than before count as none: a connection of our own may still be closing."""
LINE_EVERY = 10
"""Samples to a line of a log."""
SAMPLES = 120
"""In a whole soak, unless told otherwise."""


@dataclass(frozen=True)
class Clean:
    """What a server without clients has."""

    sessions: int
    tasks: int
    files: int


def soak(
    *,
    minutes: Annotated[float, Parameter(validator=Number(gt=0))] = 60.0,
    sample_s: Annotated[float | None, Parameter(validator=Number(gt=0, lte=60))] = None,
    seed: int = 0,
    output: Path = Path("runs/soak"),
) -> None:
    """Mixed traffic against a server, for as long as it takes to see that nothing grows.

    A real server process takes sessions, forks, generations and the Open Inference Protocol's
    sequences, beside slow readers, clients that vanish, calls that are cancelled, wrong operations
    and bytes that are nothing at all. Memory, threads, files, tasks, sessions, loop lag and the
    latency of a session whose answers are held against the graph run alone are sampled. The exit
    status is 1 where one of them drifts, an answer is wrong, the server's books don't agree, or
    something is left behind when all have gone. Ctrl-C ends it early, and it is judged all the
    same.

    Parameters
    ----------
    minutes
        How long.
    sample_s
        Seconds between samples; not given: 120 samples in all, 15 s apart at most.
    seed
        Of what the clients do.
    output
        Folder for soak.json, soak.md and soak.png.
    """
    console = Console(stderr=True, highlight=False)
    every_s = sample_s or min(15.0, max(0.25, minutes * 60 / SAMPLES))
    cores = choose_cores()
    with tempfile.TemporaryDirectory(prefix="rnnserve-soak-") as folder:
        worker = Worker(cores.client)
        try:
            done = _run(Path(folder), worker, cores.server, minutes * 60, every_s, seed, console)
        finally:
            worker.close()
    write(done, output)
    show(Console(highlight=False), done)
    if done.failures:
        raise BenchProblem(f"the soak failed: {'; '.join(done.failures)[:600]}")


def _run(
    folder: Path,
    worker: Worker,
    core: int,
    duration_s: float,
    every_s: float,
    seed: int,
    console: Console,
) -> Soak:
    worker.call(models.build, folder, MODEL)
    ids = np.random.default_rng(seed).integers(0, models.VOCABULARY, PROBED)
    reference = worker.call(raw.logits, models.version_folder(folder, MODEL), ids)
    options = ("--idle-timeout-s", str(IDLE_TIMEOUT_S))
    server = RnnServer(
        models.repository_of(folder, MODEL), *options, core=core, log=folder / "server.log"
    )
    try:
        with Client(server.target) as client:
            before = _clean(server, client)
            observer, looks = Observer(server, client), list[Look]()
            with Crowd(server.target, MODEL.name, seed) as crowd:
                try:
                    until_s = time.monotonic() + duration_s
                    while (left_s := until_s - time.monotonic()) > 0 and server.alive:
                        work = (server.target, MODEL.name, ids.tolist(), reference)
                        found = worker.call(probe, *work, min(every_s, left_s))
                        looks.append(observer.look(_milliseconds(found)))
                        if console.is_terminal or len(looks) % LINE_EVERY == 1:
                            _tell(console, looks[-1], left_s, crowd)
                except KeyboardInterrupt:
                    print("rnnserve_bench: ended early", file=sys.stderr)
            problems = [f"{what} ({count} times)" for what, count in crowd.problems.items()]
            problems += [f"audit: {what}" for what in sorted(set(observer.problems))]
            if server.alive:
                problems += _left_behind(server, client, before)
        server.stop_politely()
        if server.exit_status != 0:
            problems.append(f"the server ended with status {server.exit_status}")
        if "Traceback" in (log := (folder / "server.log").read_text(errors="replace")):
            problems.append(
                f"the server's log has a traceback: {log[log.index('Traceback') :][:800]}"
            )
    finally:
        server.close()
    if len(looks) < 2 * LEAST_SAMPLES:
        raise BenchProblem(f"{len(looks)} samples are too few to judge")
    return Soak(looks, drifts(looks), dict(crowd.performances), problems)


def _milliseconds(latencies_s: list[float]) -> tuple[float, float]:
    if not latencies_s:
        return float("nan"), float("nan")
    p50, p99 = np.percentile(latencies_s, (50, 99)) * 1e3
    return float(p50), float(p99)


def _clean(server: RnnServer, client: Client) -> Clean:
    audit = client.audit()
    files = len(list(Path(f"/proc/{server.pid}/fd").iterdir()))
    return Clean(audit.sessions, audit.tasks, files)


def _left_behind(server: RnnServer, client: Client, before: Clean) -> list[str]:
    """What is still there when all have gone and their sessions had time to idle."""
    until_s = time.monotonic() + SETTLE_S
    limit = replace(before, tasks=before.tasks + LEFT_OVER, files=before.files + LEFT_OVER)
    while True:
        now = _clean(server, client)
        left = [
            f"{getattr(now, name)} {name} are left; there were {getattr(before, name)}"
            for name in ("sessions", "tasks", "files")
            if getattr(now, name) > getattr(limit, name)
        ]
        if not left or time.monotonic() > until_s:
            return left
        time.sleep(0.2)


def _tell(console: Console, look: Look, left_s: float, crowd: Crowd) -> None:
    """A line a sample, over the one before where somebody looks."""
    text = (
        f"{look.memory_mb:.1f} MB  {look.threads:.0f} threads  {look.files:.0f} files  "
        f"{look.tasks:.0f} tasks  {look.sessions:.0f} sessions  core {look.cpu:.0%}  "
        f"p50 {look.probe_p50_ms:.1f} ms  p99 {look.probe_p99_ms:.1f} ms  "
        f"{sum(crowd.performances.values()):,} done  {len(crowd.problems)} wrong  "
        f"{max(left_s, 0):.0f} s left"
    )
    end = "\r" if console.is_terminal else "\n"
    console.print(text, end=end, markup=False, soft_wrap=True)
