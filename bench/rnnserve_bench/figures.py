"""Figures of a run, as PNG."""

from pathlib import Path
from statistics import median

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from rnnserve_bench.contest import Outcome
from rnnserve_bench.models import TABLE
from rnnserve_bench.results import Results
from rnnserve_bench.scenarios import CURVE_ROWS, RAW, TORCH, curve_name
from rnnserve_bench.tables import Figure

STEP, ROUND_TRIP = "us a step", "p50 of a message and its answer, or of a run (us)"
BARS: dict[str, tuple[str, Figure]] = {
    "engine": (STEP, lambda sample: sample.step_us),
    "streams64": (STEP, lambda sample: sample.step_us),
    "streams16": (STEP, lambda sample: sample.step_us),
    "stream1": (ROUND_TRIP, lambda sample: sample.p50_us),
    "frames": (STEP, lambda sample: sample.step_us),
    "chunks64": (STEP, lambda sample: sample.step_us),
    "generate": (STEP, lambda sample: sample.step_us),
}
COLOURS = {"raw": "#4c78a8", "bare": "#9d9d9d", "rnnserve": "#e45756", "Triton": "#72b7b2"}
OTHER_COLOUR = "#f2a541"
DPI = 110


def draw(results: Results, folder: Path) -> dict[str, str]:
    """Write what can be drawn; the files' names by scenario, and `curves`."""
    drawn = {}
    for name, (label, cost) in BARS.items():
        outcome = results.outcomes.get(name)
        if outcome is not None and outcome.samples:
            drawn[name] = f"{name}.png"
            _bars(outcome, label, cost, folder / drawn[name])
    if any(name.startswith("curve-") for name in results.outcomes):
        drawn["curves"] = "curves.png"
        _curves(results, folder / drawn["curves"])
    return drawn


def _bars(outcome: Outcome, label: str, cost: Figure, path: Path) -> None:
    names = list(outcome.samples)
    costs = [list(map(cost, outcome.samples[name])) for name in names]
    middles = [median(values) for values in costs]
    below = [middle - min(values) for middle, values in zip(middles, costs, strict=True)]
    above = [max(values) - middle for middle, values in zip(middles, costs, strict=True)]
    figure, axes = plt.subplots(figsize=(8, 0.9 + 0.45 * len(names)))
    colours = [_colour(name) for name in names]
    bars = axes.barh(names, middles, xerr=(below, above), color=colours, capsize=3)
    axes.bar_label(bars, labels=[f" {middle:.3g}" for middle in middles], padding=6)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_xlabel(f"{label}: median, least and most of the rounds")
    axes.set_title(outcome.title, loc="left")
    _finish(axes)
    figure.savefig(path, dpi=DPI, bbox_inches="tight")
    plt.close(figure)


def _curves(results: Results, path: Path) -> None:
    figure, axes = plt.subplots(figsize=(8, 5))
    for place, model in enumerate(TABLE):
        outcome = results.outcomes.get(f"curve-{model.name}")
        if outcome is None:
            continue
        for name, style in ((RAW, "-o"), (TORCH, "--x")):
            points = [
                (rows, median(sample.step_us for sample in samples))
                for rows in CURVE_ROWS
                if (samples := outcome.samples.get(curve_name(name, rows)))
            ]
            if points:
                label = f"{model.title}, {name}"
                axes.plot(*zip(*points, strict=True), style, color=f"C{place}", label=label)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(CURVE_ROWS, list(map(str, CURVE_ROWS)))
    axes.set_xlabel("rows in a batch")
    axes.set_ylabel("us a step")
    axes.set_title("Cost of a step by batch, one core", loc="left")
    axes.legend(fontsize=8, ncols=2)
    _finish(axes)
    figure.savefig(path, dpi=DPI, bbox_inches="tight")
    plt.close(figure)


def _colour(name: str) -> str:
    return next((c for start, c in COLOURS.items() if name.startswith(start)), OTHER_COLOUR)


def _finish(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    axes.set_axisbelow(True)
