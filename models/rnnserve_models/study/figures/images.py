"""Accuracy on digits read one pixel a step, in order and permuted."""

from __future__ import annotations

from matplotlib.figure import Figure

from rnnserve_models.study.digits import CLASSES, PIXELS
from rnnserve_models.study.figures.style import BASELINE, LOOKS, finish
from rnnserve_models.study.findings import Findings, title


def figure(findings: Findings) -> Figure | None:
    """Two bars a variant; every seed a mark."""
    names = [name for name in findings.variants("digits") if name in findings.variants("permuted")]
    if not names:
        return None
    drawn = Figure(figsize=(8, 0.9 + 0.55 * len(names)), layout="constrained")
    axes = drawn.subplots()
    for place, name in enumerate(names):
        for task, shift, alpha in (("digits", -0.19, 0.95), ("permuted", 0.19, 0.45)):
            share = findings.success(task, PIXELS, name)
            assert share is not None
            axes.barh(
                place + shift, 100 * share.middle, 0.36, color=LOOKS[name].colour, alpha=alpha
            )
            seeds = findings.seeds(task, PIXELS, name)
            axes.scatter(
                [100 * result.success for result in seeds],
                [place + shift] * len(seeds),
                color="#222222",
                s=9,
                zorder=3,
            )
            words = {"digits": "in order", "permuted": "permuted"}[task]
            axes.text(
                1, place + shift, f"{words} {100 * share.middle:.1f} %", va="center", fontsize=8
            )
    axes.axvline(100 / CLASSES, **BASELINE)
    axes.set_yticks(range(len(names)), [title(name) for name in names])
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    finish(
        axes,
        "Digits, one pixel a step (dotted: one answer for all; marks: seeds)",
        "accuracy on images not learnt (%)",
        "",
    )
    return drawn
