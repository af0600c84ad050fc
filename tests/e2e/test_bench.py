"""The bench still runs: one scenario on windows so short that its figures mean nothing."""

import json
import os
import subprocess
import sys

import pytest


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="the bench needs two cores")
def test_a_scenario_is_measured_and_written_down(tmp_path):
    command = [sys.executable, "-m", "rnnserve_bench", "run", "--only", "stream1", "--rounds", "1"]
    command += ["--window-s", "0.2", "--warm-s", "0.1", "--output", str(tmp_path)]
    command += ["--triton", str(tmp_path / "no-triton")]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=800)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "RESULTS.md").read_text()
    for contestant in ("raw", "bare wire", "rnnserve"):
        assert f"| {contestant} |" in page
    assert "install-triton" in page
    assert json.loads((tmp_path / "results.json").read_text())
    assert (tmp_path / "stream1.png").stat().st_size > 1000
