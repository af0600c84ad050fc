"""What a person sees while a study goes on: a bar in a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Column

from rnnserve_models.progress import say

LINE_S = 30.0
EARLY = 0.02
REMEMBERED_S = 300.0
"""How long the past is that the time left follows from: fits of very different kinds take turns."""


class StudyProgress:
    """All of a study as one bar, in seconds as the plan expects them.

    Args:
        expected_s: of everything that is to be done, by name.
        fits: how many there are in the whole study, those done before included.
        done: how many are done already.
    """

    def __init__(
        self,
        console: Console,
        expected_s: Mapping[str, float],
        fits: int,
        done: int,
        line_s: float = LINE_S,
    ) -> None:
        self._console, self._line_s = console, line_s
        self._expected_s = dict(expected_s)
        self._under_way_s: dict[str, float] = {}
        self._fits, self._done, self._done_s = fits, done, 0.0
        self._bar = Progress(
            BarColumn(bar_width=20, table_column=Column(min_width=10)),
            TextColumn("{task.percentage:3.0f} %", table_column=Column(min_width=5)),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(table_column=Column(min_width=7, no_wrap=True)),
            TextColumn("{task.description}"),
            console=console,
            disable=not console.is_terminal,
            speed_estimate_period=REMEMBERED_S,
        )
        self._task = self._bar.add_task("", total=sum(self._expected_s.values()) or 1.0)
        self._spoken_s = self._began_s = time.monotonic()

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def at(self, name: str, share: float) -> None:
        """Show that so much of something is done."""
        self._under_way_s[name] = share * self._expected_s[name]
        self._show(name)

    def finished(self, name: str) -> None:
        """Show that it is done; it counts in full, however early it ended."""
        self._under_way_s.pop(name, None)
        self._done_s += self._expected_s[name]
        self._done = min(self._done + 1, self._fits)
        self._show(name)

    @property
    def share(self) -> float:
        """Of the work that was to be done, how much is."""
        total_s = sum(self._expected_s.values()) or 1.0
        return (self._done_s + sum(self._under_way_s.values())) / total_s

    def _show(self, name: str) -> None:
        sentence = f"{self._done} of {self._fits} fits, {name}"
        if self._console.is_terminal:
            completed_s = self.share * sum(self._expected_s.values())
            self._bar.update(self._task, completed=completed_s, description=sentence)
            return
        now_s = time.monotonic()
        if now_s - self._spoken_s >= self._line_s:
            self._spoken_s = now_s
            left_s = (now_s - self._began_s) * (1 / max(self.share, 1e-9) - 1)
            # The first minutes say nothing yet.
            left = f"about {left_s / 60:.0f} min left" if self.share > EARLY else "begun"
            say(self._console, f"{self.share:4.0%}  {left}  {sentence}")
