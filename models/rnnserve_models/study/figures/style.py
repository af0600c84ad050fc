"""How the figures look: one colour and one mark for a variant everywhere.

The colours are those of Okabe & Ito (2008), which people with any colour vision tell apart.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from rnnserve_models.study.findings import title

DPI = 110
FEW_DECADES = 3e3
BASELINE: dict[str, Any] = {"color": "#555555", "linestyle": (0, (1, 1.5)), "linewidth": 1.5}


@dataclass(frozen=True)
class Look:
    """Colour, mark and line of a variant."""

    colour: str
    mark: str
    line: str = "-"


LOOKS = {
    "rnn": Look("#D55E00", "o"),
    "lstm": Look("#0072B2", "s"),
    "gru": Look("#009E73", "^"),
    "tcn": Look("#E69F00", "D"),
    "attention": Look("#CC79A7", "P"),
    "mingru": Look("#000000", "v"),
    "lstm-b0": Look("#56B4E9", "s", "--"),
    "rnn-unclipped": Look("#D55E00", "o", "--"),
    "rnn-loud": Look("#7A3300", "X"),
    "rnn-loud-unclipped": Look("#7A3300", "X", "--"),
    "lstm-unclipped": Look("#0072B2", "s", "--"),
}


def line_of(name: str) -> dict[str, Any]:
    """Arguments of a plotted line for a variant, with its name for the legend."""
    look = LOOKS[name]
    return {
        "color": look.colour,
        "marker": look.mark,
        "linestyle": look.line,
        "markersize": 5,
        "linewidth": 1.6,
        "label": title(name),
    }


def panels(count: int, height: float = 4.2, width: float = 4.6) -> tuple[Figure, list[Axes]]:
    """A figure with panels side by side, and room for a legend at its right."""
    figure = Figure(figsize=(width * count + 1.6, height), layout="constrained")
    found = figure.subplots(1, count, squeeze=False)
    return figure, list(found[0])


def finish(axes: Axes, heading: str, x: str, y: str) -> None:
    """Title and labels with their units; no more lines than it takes."""
    axes.set_title(heading, loc="left", fontsize=10)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    axes.set_axisbelow(True)


def log_y(axes: Axes) -> None:
    """A logarithmic axis; plain numbers at 1, 2 and 5 where powers of ten alone are too few."""
    axes.set_yscale("log")
    least, most = axes.get_ylim()
    if most / least < FEW_DECADES:
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.4g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())


def lengths_along_x(axes: Axes, lengths: Iterable[int]) -> None:
    """A logarithmic axis with a tick at each length and nowhere else."""
    axes.set_xscale("log")
    found = list(lengths)
    axes.set_xticks(found, [f"{length:,}" for length in found])
    axes.minorticks_off()


def legend(figure: Figure, panels: Iterable[Axes]) -> None:
    """One for all panels, outside of them; each name once."""
    found: dict[str, Artist] = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    figure.legend(
        list(found.values()), list(found), loc="outside right upper", frameon=False, fontsize=9
    )


def png(figure: Figure) -> bytes:
    """The figure's file."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=DPI)
    return file.getvalue()
