"""The learning curve as a picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

_POINTS = 200


def draw_curve(
    losses: list[float],
    validations: list[tuple[int, float]],
    characters_per_step: int,
    title: str,
    path: Path,
) -> None:
    """Write a PNG: nats per character against the characters learnt.

    Args:
        losses: training loss of every step; averaged in about 200 groups.
        validations: (step, estimated validation loss).
    """
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    groups = np.array_split(np.asarray(losses), min(_POINTS, len(losses)))
    ends = np.cumsum([len(group) for group in groups])
    axes.plot(
        ends * characters_per_step / 1e6,
        [group.mean() for group in groups],
        label="training",
        linewidth=1.5,
    )
    if validations:
        steps, nats = zip(*validations, strict=True)
        axes.plot(
            np.asarray(steps) * characters_per_step / 1e6,
            nats,
            label="validation (estimate)",
            marker="o",
            markersize=4,
        )
    axes.set_xlabel("characters learnt (millions)")
    axes.set_ylabel("nats per character")
    axes.set_title(title)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, format="png", dpi=120)
