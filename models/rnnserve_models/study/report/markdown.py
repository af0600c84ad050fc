"""Tables of text, and numbers and lists as words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rnnserve_models.study.findings import Spread


@dataclass(frozen=True)
class Table:
    """Cells as text.  The first column names; the others are numbers, unless it is prose."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    is_prose: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing in it but names."""
        return not any(cell for row in self.rows for cell in row[1:])

    def markdown(self) -> str:
        """As a page shows it."""
        rule = ("---", *("---" if self.is_prose else "---:" for _ in self.head[1:]))
        return "\n".join(f"| {' | '.join(cells)} |" for cells in (self.head, rule, *self.rows))


def listed(names: Sequence[str]) -> str:
    """'A', 'A and B', 'A, B and C'; 'none' for nobody."""
    if len(names) < 2:
        return names[0] if names else "none"
    return f"{', '.join(names[:-1])} and {names[-1]}"


def number(value: float) -> str:
    """Three digits that count, without an exponent where that is short."""
    if not math.isfinite(value):
        return "-"
    if value != 0 and (abs(value) < 1e-3 or abs(value) >= 1e8):
        return f"{value:.1e}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def percent(share: float) -> str:
    """Of a share from 0 to 1."""
    return f"{100 * share:.1f} %" if math.isfinite(share) else "-"


def spread(found: Spread | None) -> str:
    """'middle [least..most]', or the middle alone where the seeds agree."""
    if found is None:
        return ""
    if number(found.least) == number(found.most):
        return number(found.middle)
    return f"{number(found.middle)} [{number(found.least)}..{number(found.most)}]"


def spread_of_shares(found: Spread | None) -> str:
    """The same in percent."""
    if found is None:
        return ""
    if percent(found.least) == percent(found.most):
        return percent(found.middle)
    return f"{percent(found.middle)} [{percent(found.least)}..{percent(found.most)}]"
