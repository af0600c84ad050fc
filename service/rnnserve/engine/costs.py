"""What a run costs on this machine: measured when a model is loaded, looked up for each batch.

Few runs of a grid of rows and steps are timed; all others follow from them by straight lines, since
a run is a fixed cost and a cost a row and step. What is kept is monotone: a run of more rows or
more steps is never expected to be cheaper.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

MAX_RUN_S = 0.030
"""Runs of several steps that are expected to take longer are estimated, not run."""
TIMED_RUNS = 3
WITHIN = 1.03
"""A cost a row within this factor of the best counts as good as the best."""

Cell = tuple[int, int]
"""Rows and steps."""
RunOnce = Callable[[int, int], float]
"""`(rows, steps) -> seconds`: one run, timed by whoever runs it."""


@dataclass(frozen=True, slots=True)
class Cost:
    """One run of the grid. `measured`: it was run; otherwise it follows from others that were."""

    rows: int
    steps: int
    run_s: float
    measured: bool


@dataclass(frozen=True, slots=True)
class Costs:
    """The table of a model, and what follows from it. `measure` builds it."""

    grid: tuple[Cost, ...]
    """By rows, then steps."""
    max_rows: int
    """The fewest rows of the grid whose cost a row is within 3 % of the best, for single steps:
    more gain nothing and delay everybody."""
    max_block_s: float
    expected: tuple[tuple[float, ...], ...]
    """Seconds, by rows (0 is unused) and the logarithm (base 2) of steps."""
    longest_steps: tuple[int, ...]
    """By rows (0 is unused): the longest block that takes at most `max_block_s`."""

    def expected_s(self, rows: int, steps: int) -> float:
        """Seconds that a run is expected to take; `steps` is a power of two.

        Raises IndexError beyond the rows and steps that `measure` was given.
        """
        return self.expected[rows][steps.bit_length() - 1]

    def block_steps(self, rows: int, at_most: int) -> int:
        """The longest block for this many rows: a power of two of steps, at most `at_most`, and
        expected to take at most `max_block_s`; but at least one step."""
        longest = self.longest_steps[rows]
        return longest if longest <= at_most else 1 << (at_most.bit_length() - 1)


def measure(
    run_once: RunOnce,
    max_rows: int,
    max_block_steps: int,
    *,
    budget_s: float = 0.5,
    max_block_s: float = 0.010,
) -> Costs:
    """Time a model on 1 to `max_rows` rows and blocks of up to `max_block_steps` steps.

    Takes `budget_s` seconds of runs and one run more at most; the run of one row and step is timed
    whatever it takes (twice at least: a first run sets things up). Raises what `run_once` raises.
    """
    rows_grid = _doubling(max_rows)
    powers = [1 << log for log in range(max_block_steps.bit_length())]
    steps_grid = sorted({*powers[::3], powers[-1]})
    # By columns: single steps come first, because they are the most common and decide `max_rows`.
    cells = [(rows, steps) for steps in steps_grid for rows in rows_grid]
    measured = _smooth(_survey(run_once, cells, budget_s))
    costs_s = _fill(cells, measured)
    at_grid = [
        np.interp(powers, steps_grid, [costs_s[rows, steps] for steps in steps_grid])
        for rows in rows_grid
    ]
    every_row = np.arange(1, max_rows + 1)
    columns = [np.interp(every_row, rows_grid, column) for column in np.transpose(at_grid)]
    # Interpolating rounds, and one bit is enough to be out of order.
    table = np.maximum.accumulate(np.maximum.accumulate(np.transpose(columns), 0), 1)  # (rows, log)
    fits = (table <= max_block_s).sum(axis=1)
    return Costs(
        grid=tuple(Cost(*cell, costs_s[cell], cell in measured) for cell in sorted(cells)),
        max_rows=_rows_that_pay(rows_grid, table) if _counts_of_rows(measured) > 1 else max_rows,
        max_block_s=max_block_s,
        expected=((), *map(tuple, table.tolist())),
        longest_steps=(0, *(1 << max(int(count) - 1, 0) for count in fits)),
    )


def _doubling(last: int) -> list[int]:
    """1, 2, 4, ... and `last`."""
    return sorted({*(1 << log for log in range(last.bit_length())), last})


def _counts_of_rows(measured: Mapping[Cell, float]) -> int:
    return len({rows for rows, _ in measured})


def _survey(run_once: RunOnce, cells: Sequence[Cell], budget_s: float) -> dict[Cell, float]:
    """Seconds of the cells that are worth their while, in this order.

    A cell isn't run where the budget wouldn't last for all its runs, nor where it is of several
    steps and over MAX_RUN_S, nor where a smaller one wasn't run. Every cell has its first run
    before any has its second: what disturbs the machine for a while then hits all of them alike,
    and the next round sets it right.
    """
    measured: dict[Cell, float] = {}
    skipped: list[Cell] = []
    spent_s = promised_s = 0.0
    for rows, steps in cells:
        if any(fewer <= rows and shorter <= steps for fewer, shorter in skipped):
            continue
        guess_s = _guess(measured, rows, steps) if measured else 0.0
        too_long = steps > 1 and guess_s > MAX_RUN_S
        if measured and (too_long or promised_s + (1 + TIMED_RUNS) * guess_s > budget_s):
            skipped.append((rows, steps))
            continue
        if not measured:
            # The very first run sets things up.
            spent_s = run_once(rows, steps)
        measured[rows, steps] = run_s = run_once(rows, steps)
        spent_s += run_s
        promised_s += (1 + TIMED_RUNS) * run_s
    for cell in [*measured] * TIMED_RUNS:
        if spent_s >= budget_s:
            break
        run_s = run_once(*cell)
        spent_s += run_s
        measured[cell] = min(measured[cell], run_s)
    return measured


def _guess(known: Mapping[Cell, float], rows: int, steps: int) -> float:
    """Seconds of a cell from those of fewer steps or, for a single step, of fewer rows."""
    if steps > 1:
        points = sorted((s, known[r, s]) for r, s in known if r == rows and s < steps)
        return _extrapolate(points[-2:], steps)
    points = sorted((r, known[r, s]) for r, s in known if s == 1 and r < rows)
    return _extrapolate(points[-2:], rows)


def _extrapolate(points: Sequence[tuple[int, float]], at: int) -> float:
    """The line through two points, or through one and the origin; it never falls."""
    last, last_s = points[-1]
    before, before_s = points[0] if len(points) > 1 else (0, 0.0)
    return last_s + max(0.0, last_s - before_s) / (last - before) * (at - last)


def _smooth(measured: Mapping[Cell, float]) -> dict[Cell, float]:
    """Each cell at most what any larger one was measured at.

    What disturbs a run only ever makes it longer. So the smaller measurement is the truer one, and
    where a smaller run seems to cost more, it is that one which is wrong.
    """
    return {
        (rows, steps): min(run_s for (r, s), run_s in measured.items() if r >= rows and s >= steps)
        for rows, steps in measured
    }


def _fill(cells: Sequence[Cell], measured: Mapping[Cell, float]) -> dict[Cell, float]:
    """All cells: as measured, or estimated from those of fewer steps or rows, never below them."""
    known: dict[Cell, float] = {}
    for rows, steps in cells:
        if (rows, steps) in measured:
            known[rows, steps] = measured[rows, steps]
        else:
            smaller = max(run_s for (r, s), run_s in known.items() if r <= rows and s <= steps)
            known[rows, steps] = max(smaller, _guess(known, rows, steps))
    return known


def _rows_that_pay(rows_grid: Sequence[int], table: np.ndarray) -> int:
    """The fewest rows of the grid whose cost a row is as good as the best, for single steps.

    Of the grid: 65 rows that run as 64 and 1 are dearer than the table says of 64.
    """
    per_row_s = {rows: table[rows - 1, 0] / rows for rows in rows_grid}
    best_s = min(per_row_s.values())
    return next(rows for rows in rows_grid if per_row_s[rows] <= WITHIN * best_s)
