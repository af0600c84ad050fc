"""What models cost, as a table for people and as data for programs."""

from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from rnnserve.client import Cost, Costs, Model

UNITS_US = ((1.0, "µs"), (1e3, "ms"), (1e6, "s"))


def show_costs(console: Console, model: Model) -> None:
    """The table of one model, and what follows from it."""
    title = Text(f"{model.name} version {model.version}", "bold")
    if model.costs is None or not model.costs.runs:
        console.print(title, Text("the server did not measure what it costs"), sep=": ")
        return
    console.print(title)
    console.print(_table(model.costs))
    for line in _follows(model.costs):
        console.print(Text(line))
    console.print()


def costs_json(costs: Costs | None) -> dict[str, Any] | None:
    """Plain data; None where the server has none."""
    if costs is None:
        return None
    return {
        "runs": [
            {
                "rows": run.rows,
                "steps": run.steps,
                "run_us": run.run_us,
                "step_us": run.step_us,
                "measured": run.measured,
            }
            for run in costs.runs
        ],
        "max_rows": costs.max_rows,
        "alone_block_steps": costs.alone_block_steps,
        "full_block_steps": costs.full_block_steps,
        "max_stall_us": costs.max_stall_us,
        "max_block_us": costs.max_block_us,
    }


def duration(us: float) -> str:
    """Three digits and the unit that suits them."""
    for unit_us, unit in UNITS_US:
        if us < 999.5 * unit_us:
            return f"{us / unit_us:.3g} {unit}"
    return f"{us / 1e6:,.0f} s"


def _table(costs: Costs) -> Table:
    """Rows down, steps across; in a cell the time of the run and that of a step and row."""
    runs = {(run.rows, run.steps): run for run in costs.runs}
    all_steps = sorted({steps for _, steps in runs})
    table = Table("rows", *(_counted(steps, "step") for steps in all_steps))
    for column in table.columns:
        column.justify = "right"
    for rows in sorted({rows for rows, _ in runs}):
        cells = [_cell(runs.get((rows, steps)), costs) for steps in all_steps]
        table.add_row(Text(str(rows)), *cells)
    return table


def _cell(run: Cost | None, costs: Costs) -> Text:
    if run is None:
        return Text()
    guessed = "" if run.measured else "~"
    threaded = "*" if run.run_us > costs.max_stall_us else ""
    text = f"{guessed}{duration(run.run_us)}{threaded}\n{duration(run.step_us)} each"
    return Text(text, "" if run.measured else "dim")


def _follows(costs: Costs) -> list[str]:
    legend = "the time of a run, and each step's and row's share of it"
    if not all(run.measured for run in costs.runs):
        legend += "; ~ was not run, it follows from others that were"
    if any(run.run_us > costs.max_stall_us for run in costs.runs):
        legend += "; * leaves the loop"
    rows = _counted(costs.max_rows, "row")
    return [
        f"({legend})",
        f"At most {rows} run together; long chunks are cut into blocks of at most "
        f"{_counted(costs.alone_block_steps, 'step')} alone and {costs.full_block_steps} in a "
        f"batch of {rows}, to take no longer than {duration(costs.max_block_us)}; a run expected "
        f"to take more than {duration(costs.max_stall_us)} leaves the server's loop for a worker "
        "thread.",
    ]


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
