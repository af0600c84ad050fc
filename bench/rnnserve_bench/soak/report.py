"""What a soak leaves: a table, JSON, a page, and a picture of everything over time."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table as Shown

from rnnserve_bench import machine
from rnnserve_bench.soak.drift import WARM_SHARE, Drift
from rnnserve_bench.soak.observing import Look
from rnnserve_bench.tables import Table, number

DPI = 110
JSON, PAGE, PNG = "soak.json", "soak.md", "soak.png"
HEAD = ("", "begins", "grows", "an hour", "allowed", "")
PANELS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("memory (MB)", ("memory_mb",)),
    ("threads, files, tasks", ("threads", "files", "tasks")),
    ("open sessions", ("sessions",)),
    ("probe and loop lag (ms)", ("probe_p50_ms", "probe_p99_ms", "loop_lag_ms")),
    ("share of a core", ("cpu",)),
)


@dataclass(frozen=True)
class Soak:
    """What happened."""

    looks: list[Look]
    drifts: list[Drift]
    performances: dict[str, int]
    problems: list[str] = field(default_factory=list)
    """Each is a reason to fail; a drift is one too."""

    @property
    def minutes(self) -> float:
        return self.looks[-1].time_s / 60 if self.looks else 0.0

    @property
    def title(self) -> str:
        """How long, and how much happened."""
        return f"{self.minutes:.1f} minutes, {sum(self.performances.values()):,} performances"

    @property
    def cast(self) -> str:
        """How often each role was performed."""
        return ", ".join(f"{count:,} {role}" for role, count in self.performances.items())

    @property
    def failures(self) -> list[str]:
        return [*self.problems, *(str(drift) for drift in self.drifts if drift.is_drifting)]

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        looks = [
            {name: None if np.isnan(value) else value for name, value in look.as_dict().items()}
            for look in self.looks
        ]
        return {
            "machine": machine.machine(),
            "versions": machine.versions(),
            "failures": self.failures,
            "drifts": [asdict(drift) for drift in self.drifts],
            "performances": self.performances,
            "looks": looks,
        }


def show(console: Console, soak: Soak) -> None:
    """The table."""
    table = Shown(title=soak.title, title_justify="left")
    for place, name in enumerate(HEAD):
        table.add_column(name, justify="right" if place else "left")
    for drift in soak.drifts:
        table.add_row(*cells(drift), style="red" if drift.is_drifting else None)
    console.print(table)
    console.print(soak.cast, markup=False)
    for failure in soak.failures:
        console.print(f"! {failure}", style="red", markup=False)


def cells(drift: Drift) -> tuple[str, ...]:
    """A row of the table."""
    figures = (drift.begin, drift.growth, drift.an_hour, drift.allowed)
    return (drift.name, *map(number, figures), "drifts" if drift.is_drifting else "flat")


def page(soak: Soak) -> str:
    """The page that `report` makes a part of RESULTS.md."""
    parts = [
        "## Hours of mixed traffic",
        f"    python -m rnnserve_bench soak --minutes {soak.minutes:.2g}",
        machine.lines(),
        f"{soak.title}: {soak.cast}.",
        Table(HEAD, tuple(map(cells, soak.drifts))).markdown(),
        *(f"**{failure}**" for failure in soak.failures),
        f"![everything that was sampled, over time]({PNG})",
    ]
    return "\n\n".join(parts) + "\n"


def write(soak: Soak, folder: Path) -> None:
    """JSON, page and PNG into the folder, made if there is none."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / JSON).write_text(json.dumps(soak.as_dict(), indent=1, allow_nan=False) + "\n")
    (folder / PAGE).write_text(page(soak))
    if len(soak.looks) > 1:
        draw(soak, folder / PNG)


def draw(soak: Soak, path: Path) -> None:
    """Everything that was sampled, over time; the dashed lines are what was judged."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    minutes = np.array([look.time_s for look in soak.looks]) / 60
    judged = {drift.name: drift for drift in soak.drifts}
    figure, panels = plt.subplots(
        len(PANELS), 1, figsize=(9, 11), sharex=True, layout="constrained"
    )
    warm = minutes[0] + WARM_SHARE * (minutes[-1] - minutes[0])
    for axes, (label, names) in zip(panels, PANELS, strict=True):
        for place, name in enumerate(names):
            values = [getattr(look, name) for look in soak.looks]
            axes.plot(minutes, values, color=f"C{place}", lw=1, marker=".", ms=3, label=name)
            if drift := judged.get(name):
                ends = (drift.begin, drift.begin + drift.growth)
                axes.plot((warm, minutes[-1]), ends, color=f"C{place}", ls="--", lw=1.5)
        axes.axvspan(minutes[0], warm, color="#9d9d9d", alpha=0.15, lw=0)
        axes.set_ylabel(label, fontsize=9)
        if names != ("memory_mb",):  # where a few in a hundred are what matters
            axes.set_ylim(bottom=0)
        axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_title(
        "Soak: mixed traffic; grey is warm-up, dashed the slope that is judged",
        loc="left",
        fontsize=10,
    )
    panels[-1].set_xlabel("time (minutes)")
    figure.savefig(path, dpi=DPI)
    plt.close(figure)
