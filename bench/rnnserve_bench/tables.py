"""A scenario's samples as a table of text: medians over the rounds, with the spread."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from rnnserve_bench.contest import Outcome
from rnnserve_bench.sample import Sample

Figure = Callable[[Sample], float]


@dataclass(frozen=True)
class Table:
    """Cells as text; the first column names, the others are numbers."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def markdown(self) -> str:
        rule = ("---", *("---:" for _ in self.head[1:]))
        lines = (self.head, rule, *self.rows)
        return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


COLUMNS: tuple[tuple[str, Figure, bool], ...] = (
    ("us a step", lambda s: s.step_us, True),
    ("steps/s", lambda s: s.steps_per_s, False),
    ("p50 us", lambda s: s.p50_us, False),
    ("p99 us", lambda s: s.p99_us, False),
    ("max us", lambda s: s.max_us, False),
    ("CPU us a step", lambda s: s.server_step_us, False),
    ("CPU us a message or run", lambda s: s.server_message_us, False),
    ("server core", lambda s: 100 * s.server_load, False),
    ("load core", lambda s: 100 * s.client_load, False),
    ("rows", lambda s: s.facts.get("batch_rows", math.nan), False),
    ("block", lambda s: s.facts.get("block_steps", math.nan), False),
)


def scenario_table(outcome: Outcome) -> Table:
    """Every contestant's figures; a column that nobody has a number for is left out."""
    figures = {
        name: [[figure(sample) for sample in samples] for _, figure, _ in COLUMNS]
        for name, samples in outcome.samples.items()
    }
    shown = [
        place
        for place in range(len(COLUMNS))
        if any(known(columns[place]) for columns in figures.values())
    ]
    head = ("", *(COLUMNS[place][0] for place in shown))
    rows = [
        (name, *(_cell(columns[place], COLUMNS[place]) for place in shown))
        for name, columns in figures.items()
    ]
    return Table(head, tuple(rows))


def _cell(values: Sequence[float], column: tuple[str, Figure, bool]) -> str:
    name, _, spread = column
    percent = "%" if name.endswith(" core") else ""
    values = known(values)
    if not values:
        return ""
    if name.startswith("max"):
        return number(max(values))
    return with_spread(values) if spread else number(median(values)) + percent


def with_spread(values: Sequence[float]) -> str:
    """The median, and from where to where the rounds went."""
    return f"{number(median(values))} [{number(min(values))}..{number(max(values))}]"


def number(value: float) -> str:
    """Three or four digits that count."""
    size = abs(value)
    if size >= 1000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.2f}"


def known(values: Iterable[float]) -> list[float]:
    """Those that are numbers."""
    return [value for value in values if not math.isnan(value)]
