"""Triton's perf_analyzer over gRPC, in a run of few seconds, and the facts of its report.

It measures in windows until three in a row agree, and ends with status 2 and without a report
where they never do. A test wants load and no verdict about how even it was: three windows, any of
which will do. `--request-count` is no way to be short: over unary calls it sends a sequence's END
while the step before is still under way.
"""

import csv
import os
import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from peers.place import PERF_ANALYZER, PERF_ANALYZER_PROGRAM

COUNT = re.compile(r"^ +([A-Z][a-z ]+ count): (\d+)", re.MULTILINE)
LEVEL = re.compile(r"^Request (?:concurrency|Rate): ([\d.]+)(?!.*throughput)", re.MULTILINE)
ERROR = re.compile(r"had error: (.+)")
PERCENTILE = re.compile(r"(p\d+) latency")


@dataclass(frozen=True)
class Level:
    """What one load gave."""

    load: float
    """Concurrent requests, or requests a second."""
    inferences_per_s: float
    latency_us: dict[str, int]
    """`p50`, `p90`, `p95` and `p99`, as the client saw them."""
    server_us: dict[str, int]
    """`Queue`, `Compute Input`, `Compute Infer`, `Compute Output`, averages; empty where the
    server's extensions don't name `statistics`."""
    counts: dict[str, int]
    """`Request count` and `Sequence count` as the client saw them; `Inference count`, `Execution
    count` and `Successful request count` from the server's statistics."""


@dataclass(frozen=True)
class Profile:
    """A run that ended by itself."""

    status: int
    output: str
    errors: tuple[str, ...]
    """What its threads met. Some of them leave the status 0."""
    levels: dict[float, Level]
    """By load; none where the run failed."""


def profile(
    target: str, model: str, *arguments: str, window_ms: int = 300, timeout_s: float = 60.0
) -> Profile:
    """Run it; a level takes a bit more than three windows.

    Skips the test where it isn't installed. Raises subprocess.TimeoutExpired, the process ended.
    """
    PERF_ANALYZER.require()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.csv"
        command = [str(PERF_ANALYZER_PROGRAM), "-m", model, "-u", target, "-i", "grpc"]
        command += ["--measurement-interval", str(window_ms), "--max-trials", "3"]
        command += ["--stability-percentage", "999", "-f", str(report), *arguments]
        done = subprocess.run(
            command,
            env={**os.environ, "LD_LIBRARY_PATH": str(PERF_ANALYZER.folder / "lib")},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        rows = report.read_text() if report.exists() else ""
    errors = tuple(ERROR.findall(done.stdout))
    return Profile(done.returncode, done.stdout, errors, levels(rows, done.stdout))


def levels(report: str, output: str) -> dict[float, Level]:
    """The report's rows, which are sorted by throughput, with what only the output says."""
    counts = _counts(output)
    found = {}
    for row in csv.DictReader(report.splitlines()):
        load = float(row.get("Concurrency") or row["Request Rate"])
        latency_us = {
            match[1]: int(value) for name, value in row.items() if (match := PERCENTILE.match(name))
        }
        server_us = {
            name.removeprefix("Server "): int(value)
            for name, value in row.items()
            if name.startswith("Server ")
        }
        rate = float(row["Inferences/Second"])
        found[load] = Level(load, rate, latency_us, server_us, counts[load])
    return found


def _counts(output: str) -> dict[float, dict[str, int]]:
    parts = LEVEL.split(output)
    loads, texts = parts[1::2], parts[2::2]
    return {
        float(load): {name: int(value) for name, value in COUNT.findall(text)}
        for load, text in zip(loads, texts, strict=True)
    }
