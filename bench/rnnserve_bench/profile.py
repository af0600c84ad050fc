"""`python -m rnnserve_bench profile`: where each microsecond of the server's CPU goes."""

import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number
from rich.console import Console

from rnnserve_bench import served
from rnnserve_bench.cores import choose_cores, pinned
from rnnserve_bench.echo_server import ITERATE
from rnnserve_bench.errors import BenchProblem
from rnnserve_bench.flame import flame_svg
from rnnserve_bench.load import Span
from rnnserve_bench.models import MAIN
from rnnserve_bench.options import FULL_OUTPUT
from rnnserve_bench.rig import Rig
from rnnserve_bench.stacks import Profile, area, below_loop, read_folded, self_times
from rnnserve_bench.tables import Table, number
from rnnserve_bench.terms import Terms
from rnnserve_bench.threads import thread_clocks, thread_us
from rnnserve_bench.triton import CACHE

WARM_S = 1.0
SHOWN = 30
RATE_HZ = 200
"""More, and the sampler falls behind: reading native stacks takes it milliseconds."""
FLOOR_US = 0.05
NAMES = {"MainThread": "event loop", "event_engine": "gRPC's own threads"}

INTRODUCTION = """\
CPU by thread is measured undisturbed; py-spy then samples the same load, and its shares divide each
thread's. Time is a function's own, without what it calls, but with native code that it is in."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class ProfileOptions:
    """What is profiled, and for how long."""

    streams: tuple[int, ...] = (1, 64)
    """Streams of single steps, one after the other."""
    seconds: Annotated[float, Parameter(validator=Number(gte=1, lte=60))] = 10.0
    """Seconds that each is sampled."""
    output: Path = FULL_OUTPUT
    """Folder for profile-N.md and flame-N.svg; the report includes the former."""


DEFAULTS = ProfileOptions()


@dataclass(frozen=True)
class Costs:
    """Server CPU of one step (us), without a profiler: by thread id, and the kernel's names."""

    threads_us: dict[int, float]
    names: dict[int, str]


def profile(*, options: ProfileOptions = DEFAULTS) -> None:
    """Write where the server's CPU goes on single steps: flame graphs and tables.

    What a step costs is measured first, thread by thread and undisturbed; then py-spy samples the
    same load, and its shares divide that cost.
    """
    console = Console(stderr=True, highlight=False)
    cores = choose_cores()
    options.output.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="rnnserve-bench-") as folder,
        pinned(cores.client),
        Rig(cores, Path(folder), CACHE) as rig,
    ):
        terms = Terms(rig, Span(WARM_S, options.seconds), ITERATE, tokens=0, sessions=0)
        for streams in options.streams:
            console.print(f"{streams} streams of single steps")
            costs = measure_costs(terms, streams)
            found = sample_stacks(terms, streams, Path(folder) / "folded.txt")
            page = profile_page(streams, costs, found)
            (options.output / f"profile-{streams}.md").write_text(page)
            (options.output / f"flame-{streams}.svg").write_text(_flame(streams, costs, found))
            console.print(page, markup=False)


def measure_costs(terms: Terms, streams: int) -> Costs:
    """One undisturbed window."""
    server = terms.rig.server(MAIN)
    run = served.streams(terms, MAIN, streams)
    served.streams(terms.scaled(0.1), MAIN, streams)()
    before = thread_clocks(server.pid)
    sample = run()
    after = thread_clocks(server.pid)
    # The threads' clocks hold the warm-up too: their shares divide the window's cost.
    ran_us = thread_us(before, after)
    scale = sample.server_step_us / sum(ran_us.values())
    threads_us = {thread: us * scale for thread, us in ran_us.items()}
    return Costs(threads_us, {thread: clock.name for thread, clock in after.items()})


def sample_stacks(terms: Terms, streams: int, path: Path) -> Profile:
    """The same load under py-spy. Raises BenchProblem where it isn't there or can't attach."""
    command = shutil.which("py-spy") or shutil.which(
        "py-spy", path=str(Path(sys.executable).parent)
    )
    if command is None:
        raise BenchProblem("py-spy is missing: pip install py-spy")
    server = terms.rig.server(MAIN)
    seconds = terms.span.measure_s
    # Longer than the sampling, whose start takes a moment.
    longer = replace(terms, span=Span(0.1, seconds + 2 * WARM_S))
    run = served.streams(longer, MAIN, streams)
    options = ["--native", "--threads", "--format", "raw", "--rate", str(RATE_HZ)]
    options += ["--duration", f"{seconds:.0f}", "--output", str(path)]
    spy = subprocess.Popen(
        [command, "record", "--pid", str(server.pid), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    run()
    said, _ = spy.communicate(timeout=seconds + 60.0)
    if spy.returncode or not path.exists():
        raise BenchProblem(f"py-spy could not attach (it needs ptrace): {said.strip()[-300:]}")
    return read_folded(path.read_text())


def profile_page(streams: int, costs: Costs, found: Profile) -> str:
    """The two tables, threads and functions, as markdown."""
    whole_us = sum(costs.threads_us.values())
    title = "one stream" if streams == 1 else f"{streams} streams"

    def table(head: str, entries: list[tuple[str, float]]) -> str:
        rows = [(name, number(us), f"{us / whole_us:.1%}") for name, us in entries]
        return Table((head, "us a step", "share"), tuple(rows)).markdown()

    functions = _by_function(costs, found)
    return "\n\n".join(
        (
            f"## Where {number(whole_us)} us of server CPU go: {title}, single steps",
            INTRODUCTION,
            f"![flame graph](flame-{streams}.svg)",
            table("thread", _by_thread(costs, found)),
            table("area", _ranked((area(name), us) for name, us in functions)),
            table("innermost Python function, [native code below it]", functions[:SHOWN]),
            "",
        )
    )


def _label(thread: int, costs: Costs, found: Profile) -> str:
    name = found.names.get(thread, costs.names.get(thread, "?"))
    name = NAMES.get(name, name)
    if "_poll" in name:
        return "gRPC's poller"
    if "serve_forever" in name:
        return "/metrics"
    return name


def _by_thread(costs: Costs, found: Profile) -> list[tuple[str, float]]:
    """us a step by what the thread is for."""
    return _ranked((_label(thread, costs, found), us) for thread, us in costs.threads_us.items())


def _by_function(costs: Costs, found: Profile) -> list[tuple[str, float]]:
    """us a step by function; threads without Python are left out."""
    return _ranked(
        (name, costs.threads_us.get(thread, 0.0) * count / found.samples(thread))
        for thread, stacks in found.threads.items()
        for name, count in self_times(stacks).items()
    )


def _ranked(entries: Iterable[tuple[str, float]]) -> list[tuple[str, float]]:
    """Added up by name, the most first, without what hardly counts."""
    totals: defaultdict[str, float] = defaultdict(float)
    for name, us in entries:
        totals[name] += us
    ranked = sorted(totals.items(), key=lambda entry: -entry[1])
    return [(name, us) for name, us in ranked if us >= FLOOR_US]


def _flame(streams: int, costs: Costs, found: Profile) -> str:
    stacks = {
        _label(thread, costs, found): below_loop(counted)
        for thread, counted in found.threads.items()
        if costs.threads_us.get(thread, 0.0) >= FLOOR_US
    }
    values_us = {
        _label(thread, costs, found): costs.threads_us[thread]
        for thread in found.threads
        if thread in costs.threads_us
    }
    title = f"Server CPU of a step, {streams} streams of single steps; Python's threads"
    return flame_svg(title, stacks, values_us)
