"""The main job: train, export, serve, score. One number that proves all of it together."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from server_process import ServerProcess
from small_models import CELLS

ALICE = (
    "The cat sat by the door and looked at the rain. It had rained for a week, and the cat knew "
    "every drop by its name. 'You again', it said to one of them.\n"
)
BITS = re.compile(r"([0-9.]+) bits per character")


def rnnserve(*arguments: str) -> str:
    """Run a command as a user would; what it printed."""
    ended = subprocess.run(
        [sys.executable, "-m", "rnnserve", *arguments], check=False, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout + ended.stderr


@pytest.fixture(scope="module", params=CELLS)
def trained(request, tmp_path_factory) -> tuple[Path, Path, float]:
    """A run, the repository it was exported to, and the trainer's streamed bits per character."""
    folder = tmp_path_factory.mktemp(request.param)
    corpus = folder / "corpus.txt"
    corpus.write_text(ALICE * 200)
    shape = ["--cell", request.param, "--layers", "2", "--hidden", "24", "--embedding", "8"]
    size = ["--steps", "60", "--batch", "8", "--window", "32", "--threads", "1"]
    run, repository = folder / "small", folder / "repository"
    printed = rnnserve("train", str(run), "--corpus", str(corpus), *shape, *size)
    (line,) = (line for line in printed.splitlines() if "carry streamed" in line)
    found = BITS.search(line)
    assert found is not None
    rnnserve("export", str(run), "--repository", str(repository))
    return run, repository, float(found[1])


def test_the_score_over_the_wire_is_the_trainers_for_every_chunk_size(trained):
    run, repository, trained_bits = trained
    with ServerProcess(repository) as server:
        for chunk in (1, 7, 64, 1000):
            printed = rnnserve(
                *("score", "small", str(run / "validation.txt")),
                *("--chunk", str(chunk), "--target", server.target),
            )
            found = BITS.search(printed)
            assert found is not None
            assert float(found[1]) == pytest.approx(trained_bits, abs=5e-4), chunk
        assert server.stop() == 0


def test_the_demo_writes_shows_metrics_and_stops(trained):
    _, repository, _ = trained
    printed = rnnserve(
        *("demo", "small", "--repository", str(repository)),
        *("--prompt", "The cat", "--max-tokens", "40"),
    )
    assert "The cat" in printed
    assert "rnnserve_tokens_total" in printed
    assert "stopped with status 0" in printed
