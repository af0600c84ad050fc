"""`python -m rnnserve_bench run`."""

import sys
import tempfile
from pathlib import Path

from rich.console import Console

from rnnserve_bench.cores import choose_cores, pinned
from rnnserve_bench.errors import BenchProblem
from rnnserve_bench.measuring import Measuring, print_table
from rnnserve_bench.options import RunOptions
from rnnserve_bench.report import verdict_table, write
from rnnserve_bench.rig import Rig
from rnnserve_bench.scenarios import OURS, SCENARIOS, Scenario
from rnnserve_bench.targets import verdicts

DEFAULTS = RunOptions()
LOG_WIDTH = 160
QUICK_LEAVES_OUT = ("curve-", "shape-", "model-")
QUICK_KEEPS = ("model-lstm-1x128", "shape-lstm-2x128", "curve-lstm-1x128")


def run(*, options: RunOptions = DEFAULTS) -> None:
    """Measure, and write RESULTS.md.

    Every contestant runs on one core and the load on another. In each round every contestant of a
    scenario has one window, so that what the machine does besides hits them alike; compare within
    a run, never between runs. All of it takes about 20 minutes.
    """
    # A file has no width of its own, and the tables are wide.
    width = None if sys.stderr.isatty() else LOG_WIDTH
    console = Console(stderr=True, highlight=False, width=width)
    scenarios, options = chosen(options), options.effective()
    cores = choose_cores()
    with (
        tempfile.TemporaryDirectory(prefix="rnnserve-bench-") as folder,
        pinned(cores.client),
        Rig(cores, Path(folder), options.triton) as rig,
    ):
        results = Measuring(rig, options, console).all(scenarios)
    if judged := verdicts(results.outcomes):
        print_table(console, "Targets", verdict_table(judged))
    if options.folder is not None:
        write(results, options.folder)
        console.print(f"written: {options.folder / 'RESULTS.md'}", markup=False)
    if any(OURS in outcome.missing for outcome in results.outcomes.values()):
        raise BenchProblem("rnnserve failed in a scenario")


def chosen(options: RunOptions) -> list[Scenario]:
    """The scenarios that the options name. Raises BenchProblem for a name that none has."""
    for name in options.only:
        if not any(scenario.name.startswith(name) for scenario in SCENARIOS):
            known = ", ".join(scenario.name for scenario in SCENARIOS)
            raise BenchProblem(f"no scenario is called {name!r}; there are {known}")
    if options.only:
        return [scenario for scenario in SCENARIOS if scenario.name.startswith(options.only)]
    if options.quick:
        return [
            scenario
            for scenario in SCENARIOS
            if scenario.name in QUICK_KEEPS or not scenario.name.startswith(QUICK_LEAVES_OUT)
        ]
    return list(SCENARIOS)
