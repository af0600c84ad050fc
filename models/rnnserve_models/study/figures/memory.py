"""Success against the length, with the trivial baselines drawn in."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rnnserve_models.study.figures.style import (
    BASELINE,
    finish,
    legend,
    lengths_along_x,
    line_of,
    log_y,
    panels,
)
from rnnserve_models.study.findings import Findings

TITLES = {
    "adding": ("The adding problem (dotted: always answering 1)", "mean squared error"),
    "copy": ("Copy memory (dotted: guessing the symbols)", "nats a step"),
}


def figure(findings: Findings) -> Figure | None:
    """A panel for each task that was run; every seed a mark, medians joined."""
    tasks = [task for task in TITLES if findings.variants(task)]
    if not tasks:
        return None
    drawn, found = panels(len(tasks))
    for task, axes in zip(tasks, found, strict=True):
        _panel(findings, task, axes)
    legend(drawn, found)
    return drawn


def _panel(findings: Findings, task: str, axes: Axes) -> None:
    heading, unit = TITLES[task]
    lengths = findings.lengths(task)
    axes.plot(
        lengths,
        [findings.baseline(task, T) for T in lengths],
        label="trivial answer:\n1/6; 10 ln 8 / (T + 20)",
        **BASELINE,
    )
    axes.plot(
        lengths,
        [findings.solved_below(task, T) for T in lengths],
        color="#999999",
        linewidth=1,
        label="solved below",
    )
    for place, name in enumerate(findings.variants(task)):
        look = line_of(name)
        losses = [findings.loss(task, T, name) for T in lengths]
        axes.plot(lengths, [loss.middle for loss in losses if loss is not None], **look)
        for length in lengths:
            # A little apart, so that marks of equal losses don't hide each other.
            aside = length * 1.02 ** (place - 3)
            seeds = findings.seeds(task, length, name)
            axes.scatter(
                [aside] * len(seeds),
                [result.loss for result in seeds],
                color=str(look["color"]),
                marker=str(look["marker"]),
                s=10,
                alpha=0.5,
            )
    log_y(axes)
    lengths_along_x(axes, lengths)
    finish(axes, heading, "length T (steps)", f"held-out loss ({unit})")
