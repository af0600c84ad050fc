"""The norm of the loss's gradient against the lag, and of whole gradients through training."""

from __future__ import annotations

import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rnnserve_models.study.figures.style import BASELINE, finish, legend, line_of, log_y, panels
from rnnserve_models.study.findings import Findings, title
from rnnserve_models.study.report.flow import CLIPPED_AND_NOT, TASK, norms, probed
from rnnserve_models.study.variants import CLIP, FOR_GRADIENTS

LEAST = 1e-20
"""What is drawn at the foot of the axis may be smaller still."""


def figure(findings: Findings) -> Figure | None:
    """By lag before and after training; whole gradients while training."""
    if not any(probed(findings, name) for name in FOR_GRADIENTS):
        return None
    drawn, found = panels(3)
    length = findings.plan.gradient_length
    _by_lag(findings, "before", f"Before training (adding, T = {length})", found[0])
    _by_lag(findings, "after", "After training", found[1])
    bottom = max(LEAST, min(axes.get_ylim()[0] for axes in found[:2]))
    top = max(axes.get_ylim()[1] for axes in found[:2])
    for axes in found[:2]:
        axes.set_ylim(bottom, top)
    _while_training(findings, found[2])
    legend(drawn, found)
    return drawn


def _by_lag(findings: Findings, when: str, heading: str, axes: Axes) -> None:
    axes.set_yscale("log")
    for name in FOR_GRADIENTS:
        for kind in ("h", "c"):
            found = [max(norm, LEAST) for norm in norms(findings, name, when, kind)]
            if not found:
                continue
            look = line_of(name) | {"markevery": max(1, len(found) // 8)}
            look["label"] = f"{title(name)}, {kind}"
            if kind == "c":
                look |= {"linestyle": ":", "marker": ""}
            axes.plot(range(1, len(found) + 1), found, **look)
    finish(axes, heading, "lag T - t (steps)", "norm of dL/dh and dL/dc at t")


def _while_training(findings: Findings, axes: Axes) -> None:
    for name in (name for pair in CLIPPED_AND_NOT for name in pair):
        seeds = findings.seeds(TASK, findings.plan.gradient_length, name)
        if not seeds:
            continue
        # One seed: the seeds' fits end at different updates, and a mean of what is left misleads.
        curve = [point for point in seeds[0].curve if math.isfinite(point.gradient_norm)]
        axes.plot(
            [point.step for point in curve],
            [max(point.gradient_norm, LEAST) for point in curve],
            **line_of(name) | {"markersize": 3},
        )
    axes.axhline(CLIP, label="clipped to", **BASELINE)
    log_y(axes)
    finish(
        axes,
        "Whole gradients while training (seed 0)",
        "updates",
        "largest norm before clipping",
    )
