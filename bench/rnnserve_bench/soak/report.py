"""What a soak leaves: a table, JSON, and a picture of everything over time."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from rnnserve_bench import machine
from rnnserve_bench.soak.drift import WARM_SHARE, Drift
from rnnserve_bench.soak.observing import Look
from rnnserve_bench.tables import number

DPI = 110
JSON, PNG = "soak.json", "soak.png"
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
    minutes = soak.looks[-1].time_s / 60 if soak.looks else 0.0
    total = sum(soak.performances.values())
    table = Table(title=f"{minutes:.1f} minutes, {total:,} performances", title_justify="left")
    for place, name in enumerate(("", "begins", "grows", "an hour", "allowed", "")):
        table.add_column(name, justify="right" if place else "left")
    for drift in soak.drifts:
        figures = (drift.begin, drift.growth, drift.an_hour, drift.allowed)
        word = "[red]drifts[/red]" if drift.is_drifting else "flat"
        table.add_row(f"{drift.name}", *map(number, figures), word)
    console.print(table)
    console.print(
        ", ".join(f"{count:,} {role}" for role, count in soak.performances.items()), markup=False
    )
    for failure in soak.failures:
        console.print(f"! {failure}", style="red", markup=False)


def write(soak: Soak, folder: Path) -> None:
    """JSON and PNG into the folder, made if there is none."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / JSON).write_text(json.dumps(soak.as_dict(), indent=1, allow_nan=False) + "\n")
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
