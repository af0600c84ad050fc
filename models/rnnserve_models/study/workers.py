"""Processes that do jobs side by side, one torch thread each.

A job is a function of a module with its arguments; it gets one more, to tell how far it is.  A
worker ends with the process that started it, however that ends, and leaves Ctrl-C to it.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Any, Self

from rnnserve_models.study.errors import StudyError

WAKE_S = 0.2
TELL_S = 0.5


@dataclass(frozen=True)
class Job:
    """`work(*arguments, on_progress)`, to be done in a worker; everything in it is pickled."""

    name: str
    work: Callable[..., Any]
    arguments: tuple[Any, ...]


@dataclass(frozen=True)
class Progress:
    """How far a job is, from 0 to 1."""

    job: Job
    share: float


@dataclass(frozen=True)
class Done:
    """What a job returned."""

    job: Job
    value: Any


Event = Progress | Done | None
"""None: nothing has happened for a moment, so that whoever listens may look at the clock."""


class Workers:
    """So many processes, started when there is something to do; left, they are gone.

    Attributes:
        count: how many.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._processes: dict[Connection, Any] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End them, whatever they are doing; the next `run` starts new ones."""
        while self._processes:
            pipe, process = self._processes.popitem()
            pipe.close()
            process.kill()
            process.join()
            process.close()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        while len(self._processes) < self.count:
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs,), daemon=True)
            process.start()
            theirs.close()
            self._processes[ours] = process

    def run(self, jobs: Sequence[Job]) -> Iterator[Event]:
        """Do all jobs, begun in this order; yield what happens as it happens.

        Raises:
            StudyError: a worker has died.
            RuntimeError: a job raised; its traceback is a note.
        """
        waiting, busy = deque(jobs), dict[Connection, Job]()
        if waiting:
            self._start()
        while waiting or busy:
            for pipe in self._processes.keys() - busy.keys():
                if waiting:
                    busy[pipe] = waiting.popleft()
                    pipe.send(busy[pipe])
            ready = wait(list(busy), WAKE_S)
            if not ready:
                yield None
            for pipe in [pipe for pipe in busy if pipe in ready]:
                event = _received(pipe, busy[pipe])
                if isinstance(event, Done):
                    del busy[pipe]
                yield event


def _received(pipe: Connection, job: Job) -> Progress | Done:
    try:
        word, value = pipe.recv()
    except (EOFError, OSError):
        raise StudyError(
            f"the process that worked on {job.name} has died, perhaps for want of memory: the same"
            " command goes on with the rest, --workers 1 needs less"
        ) from None
    match word:
        case "progress":
            return Progress(job, value)
        case "done":
            return Done(job, value)
    problem = RuntimeError(f"{job.name} failed")
    problem.add_note(value)
    raise problem


def _serve(pipe: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    import torch

    torch.set_num_threads(1)
    while True:
        try:
            job: Job = pipe.recv()
            pipe.send(_outcome(pipe, job))
        except (EOFError, OSError):  # whoever gave us work has gone
            return


def _outcome(pipe: Connection, job: Job) -> tuple[str, Any]:
    told_s = time.monotonic()

    def on_progress(share: float) -> None:
        nonlocal told_s
        if time.monotonic() - told_s >= TELL_S:
            told_s = time.monotonic()
            pipe.send(("progress", share))

    try:
        return "done", job.work(*job.arguments, on_progress)
    except BrokenPipeError:
        raise
    except Exception:
        return "failed", traceback.format_exc()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    # In the middle of a fit: nobody is left to take what would come of it.
    os._exit(1)
