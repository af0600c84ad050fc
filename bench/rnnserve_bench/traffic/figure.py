"""A load as a picture: latency over time, what was asked and answered, and the distribution."""

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from rnnserve_bench.tables import number
from rnnserve_bench.traffic.book import ANSWERED, Rows
from rnnserve_bench.traffic.summary import Series, Summary

DPI = 110
INK, BLUE, RED, GREY = "#333333", "#4c78a8", "#e45756", "#9d9d9d"
QUANTILES, STYLES = (50.0, 90.0, 99.0, 99.9), ("-", "--", "-.", ":")
BESIDE: dict[str, Any] = {
    "fontsize": 8,
    "loc": "upper left",
    "bbox_to_anchor": (1.0, 1.0),
    "frameon": False,
}
BINS = 90


def draw(
    title: str, rows: Rows, summary: Summary, by_time: Series, warm_s: float, path: Path
) -> None:
    """Write the PNG."""
    figure, (top, middle, bottom) = plt.subplots(
        3, 1, figsize=(9, 9.5), height_ratios=(3, 2, 3), layout="constrained"
    )
    figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    _over_time(top, by_time, warm_s)
    _rates(middle, by_time, warm_s)
    counted = rows.between(warm_s, np.inf).of(ANSWERED)
    _distribution(bottom, counted, summary)
    figure.savefig(path, dpi=DPI, format="png")
    plt.close(figure)


def _over_time(axes: Axes, by_time: Series, warm_s: float) -> None:
    times_s = np.array(by_time.end_s) - by_time.slice_s / 2
    axes.plot(times_s, by_time.most_ms, color=GREY, lw=0.8, marker=".", ms=3, label="max")
    axes.plot(times_s, by_time.p99_ms, color=RED, lw=1.4, marker=".", ms=4, label="p99")
    axes.plot(times_s, by_time.p50_ms, color=BLUE, lw=1.4, marker=".", ms=4, label="p50")
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_ylabel("latency from when it was due (ms)")
    axes.set_title(f"Latency over time, slices of {by_time.slice_s:g} s", loc="left", fontsize=10)
    _finish(axes, by_time, warm_s)


def _rates(axes: Axes, by_time: Series, warm_s: float) -> None:
    times_s = np.array(by_time.end_s) - by_time.slice_s / 2
    axes.plot(times_s, by_time.due, color=INK, lw=1.0, ls="--", label="due")
    axes.plot(times_s, by_time.answered, color=BLUE, lw=1.4, label="answered")
    if any(by_time.failed):
        axes.plot(times_s, by_time.failed, color=RED, lw=1.4, label="refused or failed")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("time since the beginning (s)")
    axes.set_ylabel("chunks a second")
    axes.set_title("What was due, and what came of it", loc="left", fontsize=10)
    _finish(axes, by_time, warm_s)


def _finish(axes: Axes, by_time: Series, warm_s: float) -> None:
    if warm_s:
        axes.axvspan(0, warm_s, color=GREY, alpha=0.18, lw=0, label="warm-up, not counted")
    axes.set_xlim(0, by_time.end_s[-1])
    axes.legend(**BESIDE)
    _plain(axes)


def _distribution(axes: Axes, answered: Rows, summary: Summary) -> None:
    latency_ms = np.maximum(answered.latency_s * 1e3, 1e-3)
    if len(latency_ms):
        low, high = latency_ms.min() * 0.9, latency_ms.max() * 1.1
        axes.hist(latency_ms, bins=list(np.geomspace(low, high, BINS)), color=BLUE, alpha=0.75)
        marks = zip(QUANTILES, STYLES, np.percentile(latency_ms, QUANTILES), strict=True)
        for quantile, style, value in marks:
            label = f"p{quantile:g}: {number(float(value))} ms"
            axes.axvline(float(value), color=RED, lw=1.2, ls=style, label=label)
        axes.legend(**BESIDE)
        axes.set_xscale("log")
        axes.set_yscale("log")
    axes.set_xlabel("latency from when it was due (ms)")
    axes.set_ylabel("chunks answered")
    axes.set_title(f"Distribution of {summary.answered:,} latencies", loc="left", fontsize=10)
    axes.xaxis.set_major_formatter("{x:g}")
    _plain(axes)


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    axes.set_axisbelow(True)
