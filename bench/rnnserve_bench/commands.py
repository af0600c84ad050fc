"""The small commands."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from rnnserve_bench.options import FULL_OUTPUT
from rnnserve_bench.triton import CACHE


def report(*, output: Path = FULL_OUTPUT) -> None:
    """Write RESULTS.md and the figures anew from the samples that a run kept.

    Parameters
    ----------
    output
        Folder with results.json; profiles that lie there are included.
    """
    # matplotlib takes a second to load.
    from rnnserve_bench.report import write
    from rnnserve_bench.results import Results

    write(Results.load(output), output)


def list_scenarios() -> None:
    """List the scenarios by the names that `run --only` takes."""
    from rnnserve_bench.scenarios import SCENARIOS

    width = max(len(scenario.name) for scenario in SCENARIOS)
    for scenario in SCENARIOS:
        print(f"{scenario.name:{width}}  {scenario.title}: {' | '.join(scenario.entrants)}")


def install_triton(*, triton: Annotated[Path, Parameter(show_default=False)] = CACHE) -> None:
    """Install Triton's server, with the Python backend, from its wheel; about 500 MB.

    Into an environment of its own, because the wheel wants older packages than rnnserve.

    Parameters
    ----------
    triton
        Folder of the environment; one in the user's cache by default.
    """
    from rnnserve_bench.triton import install

    install(triton)
