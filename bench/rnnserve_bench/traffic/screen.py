"""A load in the terminal: how it goes while it goes, and the table at its end."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from rnnserve_bench.tables import number
from rnnserve_bench.traffic.crew import Listener, News
from rnnserve_bench.traffic.plan import Plan
from rnnserve_bench.traffic.summary import Spread, Summary

REFRESHES_A_SECOND = 2


@contextmanager
def progress(console: Console, plan: Plan) -> Iterator[Listener | None]:
    """What to tell `run_load`; nothing where nobody looks."""
    if not console.is_terminal:
        yield None
        return
    bar = Progress(
        BarColumn(24),
        TextColumn("{task.description}"),
        console=console,
        transient=True,
        refresh_per_second=REFRESHES_A_SECOND,
    )
    with bar:
        task = bar.add_task("opening sessions", total=plan.duration_s)
        failed = 0
        last_s = 0.0

        def listen(news: list[News], now_s: float) -> None:
            nonlocal failed, last_s
            failed += sum(one.failed for one in news)
            rate = sum(one.answered for one in news) / max(now_s - last_s, 1e-3)
            last_s = now_s
            left_s = max(plan.duration_s - now_s, 0)
            words = f"{rate:,.0f} chunks/s", _percentiles(news), f"{failed:,} failed"
            text = "  ".join((*words, f"{left_s:.0f} s left"))
            bar.update(task, completed=min(now_s, plan.duration_s), description=text)

        yield listen


def _percentiles(news: list[News]) -> str:
    latencies_s = [latency for one in news for latency in one.latencies_s]
    if not latencies_s:
        return "no answers"
    p50, p99 = np.percentile(latencies_s, (50, 99)) * 1e3
    return f"p50 {p50:.2f} ms  p99 {p99:.2f} ms"


def show(console: Console, summary: Summary) -> None:
    """The table of a load's end."""
    console.print(_counts(summary))
    console.print(_times(summary))
    for warning in summary.warnings:
        console.print(f"! {warning}", style="yellow", markup=False)


def _counts(summary: Summary) -> Table:
    table = Table(show_header=False, title="Chunks", title_justify="left")
    table.add_column()
    table.add_column(justify="right")
    table.add_column(justify="right")
    table.add_row("due", f"{summary.due:,}", f"{summary.offered_chunks_s:,.1f}/s")
    table.add_row("answered", f"{summary.answered:,}", f"{summary.answered_chunks_s:,.1f}/s")
    table.add_row("  steps in them", "", f"{summary.answered_steps_s:,.1f}/s")
    for name, count in sorted(summary.reasons.items()):
        table.add_row(f"  {name}", f"{count:,}", f"{count / summary.due:.2%}", style="red")
    table.add_row("found no session free", "", f"{summary.waited_share:.2%}")
    table.add_row("seconds without an answer", "", f"{summary.silent_s:.1f}")
    table.add_row("generator's core", "", f"{summary.busiest:.0%}")
    return table


def _times(summary: Summary) -> Table:
    table = Table(title="Milliseconds from when it was due", title_justify="left")
    for place, name in enumerate(("", "p50", "p90", "p99", "p99.9", "max")):
        table.add_column(name, justify="right" if place else "left")
    rows: tuple[tuple[str, Spread | None], ...] = (
        ("latency", summary.latency_ms),
        ("  generator late", summary.late_ms),
        ("  no session free", summary.waited_ms),
        ("  sent to answered", summary.served_ms),
        ("refused", summary.refused_ms),
    )
    for name, spread in rows:
        if spread is not None:
            values = (spread.p50, spread.p90, spread.p99, spread.p999, spread.most)
            table.add_row(name, *map(number, values))
    return table
