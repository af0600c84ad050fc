"""A study that is stopped or killed, in real processes: nothing that is finished is done again."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import rnnserve_models

WORKERS = 2
SEEDS = 3
PROGRAM = """
import sys
from pathlib import Path
from rich.console import Console
from rnnserve_models.interruption import Interrupted
from rnnserve_models.study import planning, running
from rnnserve_models.study.folder import StudyFolder
from rnnserve_models.study.fit import Recipe
from rnnserve_models.study.options import StudyOptions
from rnnserve_models.study.sizes import Size, TaskSize
from rnnserve_models.study.workers import Workers

def tell(kind, name, what):
    act = getattr(kind, name)
    def told(self, *arguments):
        value = act(self, *arguments)
        print(*what(self, *arguments), flush=True)
        return value
    setattr(kind, name, told)

tell(StudyFolder, "save_result", lambda folder, result: ("saved", result.fit.name))
tell(Workers, "_start", lambda crew: ("worker", *(p.pid for p in crew._processes.values())))
size = Size(Recipe(batch=4), {"adding": TaskSize((4,), 300, 60)}, 4, 0.1, (), (1,), 0.01)
planning.size_of = running.size_of = lambda quick: size
options = StudyOptions(seeds=int(sys.argv[2]), workers=int(sys.argv[3]))
try:
    running.run_study(Path(sys.argv[1]), options, lambda *_: [], Console())
except Interrupted as interrupted:
    raise SystemExit(interrupted.exit_code)
"""


@contextmanager
def study(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that works on the study in the folder; it is gone afterwards."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(folder), str(SEEDS), str(WORKERS)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(rnnserve_models.__file__).parents[1])},
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def told(process: subprocess.Popen[str], word: str) -> Iterator[list[str]]:
    """What follows the word, for every line that begins with it."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.split()[0] == word:
            yield line.split()[1:]


def ended(pids: list[int]) -> bool:
    """Whether these processes end within a minute; who has no such process has ended."""
    waiting = []
    for pid in pids:
        try:
            waiting.append(os.pidfd_open(pid))
        except ProcessLookupError:
            continue
    try:
        return all(select.select([fd], [], [], 60)[0] for fd in waiting)
    finally:
        for fd in waiting:
            os.close(fd)


def finished(folder: Path) -> dict[str, bytes]:
    """The files of the fits that are done."""
    return {path.stem: path.read_bytes() for path in (folder / "work" / "fits").glob("*.json")}


def names(folder: Path) -> list[str]:
    fits = json.loads((folder / "work" / "plan.json").read_text())["fits"]
    return [f"{f['task']}-{f['length']}-{f['variant']}-seed{f['seed']}" for f in fits]


def go_on(folder: Path) -> list[str]:
    """Let the study end; the fits that were saved meanwhile."""
    with study(folder) as process:
        saved = [name for (name,) in told(process, "saved")]
        assert process.wait() == 0
    return saved


def test_a_killed_study_loses_at_most_what_was_under_way(tmp_path):
    folder = tmp_path / "study"
    with study(folder) as process:
        (pids,) = [next(told(process, "worker"))]
        saved = told(process, "saved")
        first = [name for (name,) in (next(saved) for _ in range(5))]
        process.send_signal(signal.SIGKILL)
    assert ended([int(pid) for pid in pids])
    before = finished(folder)
    assert set(first) <= set(before)
    again = go_on(folder)
    assert set(again).isdisjoint(before)
    assert set(again) | set(before) == set(names(folder))
    assert before.items() <= finished(folder).items()
    assert (folder / "report.md").is_file()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_at_once_and_says_what_is_kept(tmp_path, number, code):
    folder = tmp_path / "study"
    with study(folder) as process:
        assert process.stdout is not None
        next(told(process, "saved"))
        process.send_signal(number)
        last = process.stdout.read().splitlines()[-1]
        assert process.wait() == code
    kept = len(finished(folder))
    assert 1 <= kept < len(names(folder))
    assert (
        last == f"stopped; {kept} of {len(names(folder))} fits are kept: the same command goes on"
    )
