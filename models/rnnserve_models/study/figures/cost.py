"""What serving costs: by rows in a batch, by history, by attention's window."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rnnserve_models.study.figures.style import (
    finish,
    legend,
    lengths_along_x,
    line_of,
    log_y,
    panels,
)
from rnnserve_models.study.findings import Findings
from rnnserve_models.study.report.cost import windows


def figure(findings: Findings) -> Figure | None:
    """Two panels, and a third where windows were measured."""
    costs = findings.architecture_costs
    if not costs:
        return None
    by_window = windows(findings)
    drawn, found = panels(3 if by_window else 2)
    rows, histories = sorted(costs[0].step_us), sorted(costs[0].history_us)
    for cost in costs:
        look = line_of(cost.name)
        found[0].plot(rows, [cost.token_us(count) for count in rows], **look)
        found[1].plot(histories, [cost.history_us[n] for n in histories], **look)
        again = {**look, "linestyle": ":", "marker": "", "label": "_", "alpha": 0.8}
        found[1].plot(histories, [cost.again_us[n] for n in histories], **again)
    found[1].plot([], [], color="#555555", linestyle=":", label="without a carry:\nall steps again")
    _axes(found[0], rows, "One step of a batch", "rows in the batch", "us a token")
    _axes(found[1], histories, "One more token", "steps before it", "us")
    if by_window:
        sizes = [size for size, _ in by_window]
        look = line_of("attention")
        found[2].plot(sizes, [cost.step_us[1] for _, cost in by_window], **look)
        _axes(found[2], sizes, "Attention by its window", "window (steps)", "us a step, batch 1")
    legend(drawn, found)
    return drawn


def _axes(axes: Axes, ticks: list[int], heading: str, x: str, y: str) -> None:
    log_y(axes)
    lengths_along_x(axes, ticks)
    finish(axes, heading, x, y)
