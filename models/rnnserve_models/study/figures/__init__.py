"""The figures of a study as PNG, by name; only those that there are results for."""

from __future__ import annotations

from rnnserve_models.study.figures import cost, flow, images, language, memory
from rnnserve_models.study.findings import Findings

FIGURES = {
    "memory": memory.figure,
    "images": images.figure,
    "flow": flow.figure,
    "cost": cost.figure,
    "language": language.figure,
}


def draw(findings: Findings) -> dict[str, bytes]:
    """The bytes of every figure that can be drawn."""
    from rnnserve_models.study.figures.style import png

    drawn = {name: make(findings) for name, make in FIGURES.items()}
    return {name: png(figure) for name, figure in drawn.items() if figure is not None}
