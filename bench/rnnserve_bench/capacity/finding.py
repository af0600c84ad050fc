"""What a scenario found, and how that stands against what was asked."""

from dataclasses import asdict, dataclass, field
from typing import Any

from rnnserve_bench.tables import Table, number


@dataclass(frozen=True)
class Check:
    """One figure with a limit."""

    what: str
    found: float
    limit: float
    unit: str
    at_most: bool = True

    @property
    def met(self) -> bool:
        return self.found <= self.limit if self.at_most else self.found >= self.limit


@dataclass(frozen=True)
class Finding:
    """One scenario."""

    name: str
    title: str
    how: str
    """What was done, for the page."""
    checks: tuple[Check, ...]
    figures: dict[str, float] = field(default_factory=dict)
    """What else was seen, by name with its unit."""
    warnings: tuple[str, ...] = ()

    @property
    def missed(self) -> list[str]:
        return [
            f"{self.name}: {check.what} is {number(check.found)} {check.unit}"
            for check in self.checks
            if not check.met
        ]

    def table(self) -> Table:
        """The checks, and below them the other figures."""
        rows = []
        for check in self.checks:
            sign = "at most" if check.at_most else "at least"
            limit = f"{sign} {number(check.limit)} {check.unit}"
            met = "yes" if check.met else "**no**"
            rows.append((check.what, f"{number(check.found)} {check.unit}", limit, met))
        rows += [(name, number(value), "", "") for name, value in self.figures.items()]
        return Table(("", "found", "limit", "met"), tuple(rows))

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {**asdict(self), "missed": self.missed}
