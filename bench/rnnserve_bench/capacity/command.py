"""`python -m rnnserve_bench capacity`."""

import json
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from rich.console import Console

from rnnserve_bench import machine
from rnnserve_bench.capacity.cancelled import cancelled_streams
from rnnserve_bench.capacity.finding import Finding
from rnnserve_bench.capacity.overload import KINDS, overload
from rnnserve_bench.capacity.sessions import many_sessions
from rnnserve_bench.cores import choose_cores, pinned
from rnnserve_bench.errors import BenchProblem
from rnnserve_bench.measuring import print_table
from rnnserve_bench.options import FULL_OUTPUT, QUICK_OUTPUT
from rnnserve_bench.rig import Rig
from rnnserve_bench.triton import CACHE

JSON, PAGE = "capacity.json", "capacity.md"
Name = Literal["sessions", "overload", "cancel"]


def capacity(
    *,
    only: Annotated[tuple[Name, ...], Parameter(negative=())] = (),
    quick: Annotated[bool, Parameter(negative=())] = False,
    output: Path | None = None,
) -> None:
    """What a server stands: 2,000 sessions, three times its peak, 100,000 cancelled streams.

    The server has one core and the load another. About seven minutes; writes capacity.json and
    capacity.md, which `report` makes a part of RESULTS.md. The exit status is 1 where a limit is
    missed.

    Parameters
    ----------
    only
        Scenarios; all of them by default.
    quick
        A smoke of about a minute. Its figures mean nothing.
    output
        Folder; bench, or runs/bench-quick.
    """
    console = Console(stderr=True, highlight=False)
    folder = output or (QUICK_OUTPUT if quick else FULL_OUTPUT)
    cores = choose_cores()
    findings: list[Finding] = []
    with (
        tempfile.TemporaryDirectory(prefix="rnnserve-capacity-") as work,
        pinned(cores.client),
        Rig(cores, Path(work), CACHE) as rig,
    ):
        for measure in scenarios(only, quick):
            finding = measure(rig)
            findings.append(finding)
            print_table(console, finding.title, finding.table())
            for warning in finding.warnings:
                console.print(f"! {warning}", style="yellow", markup=False)
    write(findings, folder)
    console.print(f"written: {folder / PAGE}", markup=False)
    if missed := [what for finding in findings for what in finding.missed]:
        raise BenchProblem(f"missed: {'; '.join(missed)}")


def scenarios(only: tuple[Name, ...], quick: bool) -> list[Callable[[Rig], Finding]]:
    """What to measure, in order."""
    sessions, seconds = (200, 3.0) if quick else (2000, 60.0)
    streams, warm = (1200, 400) if quick else (100_000, 10_000)
    wave_s = 1.5 if quick else 10.0
    found: dict[Name, list[Callable[[Rig], Finding]]] = {
        "sessions": [partial(many_sessions, sessions=sessions, seconds=seconds)],
        "overload": [partial(overload, kind=kind, wave_s=wave_s) for kind in KINDS],
        "cancel": [partial(cancelled_streams, streams=streams, warm=warm)],
    }
    return [measure for name, ones in found.items() if not only or name in only for measure in ones]


def write(findings: list[Finding], folder: Path) -> None:
    """JSON and page into the folder, made if there is none."""
    folder.mkdir(parents=True, exist_ok=True)
    data = {
        "machine": machine.machine(),
        "versions": machine.versions(),
        "findings": [finding.as_dict() for finding in findings],
    }
    (folder / JSON).write_text(json.dumps(data, indent=1) + "\n")
    parts = [
        "## What it stands",
        "    python -m rnnserve_bench capacity",
        machine.lines(),
    ]
    for finding in findings:
        parts += [f"### {finding.title}", finding.how, finding.table().markdown()]
        parts += [f"**{warning}**" for warning in finding.warnings]
    (folder / PAGE).write_text("\n\n".join(parts) + "\n")
