"""Accuracy on digits read one pixel a step, in order and permuted."""

from __future__ import annotations

from statistics import median

from matplotlib.figure import Figure

from rnnserve_models.study.digits import CLASSES, PIXELS
from rnnserve_models.study.figures.style import BASELINE, LOOKS, finish
from rnnserve_models.study.findings import Findings, title
from rnnserve_models.study.report.images import TASKS

BARS = {"digits": (-0.19, 0.95), "permuted": (0.19, 0.45)}
"""Where a bar stands beside the variant's place, and how opaque it is."""


def figure(findings: Findings) -> Figure | None:
    """Two bars a variant; every seed a mark."""
    names = [name for name in findings.variants("digits") if name in findings.variants("permuted")]
    if not names:
        return None
    drawn = Figure(figsize=(8, 0.9 + 0.55 * len(names)), layout="constrained")
    axes = drawn.subplots()
    for place, name in enumerate(names):
        for task, (shift, alpha) in BARS.items():
            seeds = [100 * result.success for result in findings.seeds(task, PIXELS, name)]
            middle = median(seeds)
            axes.barh(place + shift, middle, 0.36, color=LOOKS[name].colour, alpha=alpha)
            axes.scatter(seeds, [place + shift] * len(seeds), color="#222222", s=9, zorder=3)
            axes.text(101, place + shift, f"{middle:.1f} % {TASKS[task]}", va="center", fontsize=8)
    axes.axvline(100 / CLASSES, **BASELINE)
    axes.set_yticks(range(len(names)), [title(name) for name in names])
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    finish(
        axes,
        "Digits, one pixel a step (dotted: one answer for all; dots: seeds)",
        "accuracy on images not learnt (%)",
        "",
    )
    return drawn
