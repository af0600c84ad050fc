"""`rnnserve study --quick`: all of a study in a real process, once."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest

from rnnserve_models.study.figures import FIGURES
from rnnserve_models.study.variants import ARCHITECTURES


def study(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "rnnserve", "study", str(folder), "--quick"],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.timeout(1200)
def test_a_quick_study_is_whole_and_done_only_once(tmp_path):
    folder = tmp_path / "study"
    first = study(folder)
    assert first.returncode == 0, first.stderr
    assert first.stdout.splitlines()[-1] == f"the report is {folder / 'report.md'}"
    with (folder / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    fits = {path.name: path.stat().st_mtime_ns for path in (folder / "work/fits").iterdir()}
    assert len(rows) == len(fits)
    named = {(row["task"], row["variant"]) for row in rows}
    for task in ("adding", "copy", "digits", "permuted", "characters"):
        assert {(task, variant.name) for variant in ARCHITECTURES} <= named
    assert all((folder / f"{name}.png").is_file() for name in FIGURES)
    report = (folder / "report.md").read_text()
    assert "a run of the tiny sizes" in report
    assert all(f"## {question}. " in report for question in "1234")

    again = study(folder)
    assert again.returncode == 0, again.stderr
    assert "0 fits to do" in again.stdout
    assert fits == {path.name: path.stat().st_mtime_ns for path in (folder / "work/fits").iterdir()}
    assert (folder / "report.md").read_text() == report
