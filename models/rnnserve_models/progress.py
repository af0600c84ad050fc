"""What a person sees while a model trains: a bar in a terminal, a line now and then elsewhere."""

from __future__ import annotations

import math
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column

from rnnserve_models.trainer import Trainer

LINE_S = 10.0
_SMOOTHED_STEPS = 50


class TrainingProgress:
    """A view of a trainer; `show` may be called after every step."""

    def __init__(self, trainer: Trainer, console: Console, line_s: float = LINE_S) -> None:
        self._trainer, self._console, self._line_s = trainer, console, line_s
        self._bar = Progress(
            # What matters most stands first: a narrow terminal cuts the end.
            BarColumn(bar_width=10, table_column=Column(min_width=10)),
            TextColumn("{task.percentage:3.0f} %", table_column=Column(min_width=5)),
            TimeRemainingColumn(table_column=Column(min_width=7, no_wrap=True)),
            TextColumn("{task.description}"),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("", total=1.0)
        self._since = (time.monotonic(), trainer.characters)
        self._spoken_s = time.monotonic()

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def show(self) -> None:
        """Show where the trainer is."""
        trainer, now = self._trainer, time.monotonic()
        if self._console.is_terminal:
            self._bar.update(
                self._task, completed=trainer.progress, description=self._sentence(now)
            )
        elif now - self._spoken_s >= self._line_s or trainer.progress >= 1:
            self._spoken_s = now
            step = f"step {trainer.step}/{trainer.options.steps}"
            say(self._console, f"{step}  {self._sentence(now)}")

    def _sentence(self, now: float) -> str:
        trainer = self._trainer
        recent = trainer.losses[-_SMOOTHED_STEPS:]
        nats = sum(recent) / len(recent)
        since_s, characters = self._since
        speed = (trainer.characters - characters) / max(now - since_s, 1e-9)
        sentence = f"loss {nats:.3f} nats  {nats / math.log(2):.3f} bits/char  {speed:,.0f} chars/s"
        if trainer.validations:
            sentence += f"  validation {trainer.validations[-1][1] / math.log(2):.3f} bits"
        return sentence


def say(console: Console, sentence: str) -> None:
    """One plain line, never wrapped and never coloured."""
    console.print(sentence, soft_wrap=True, highlight=False, markup=False)
