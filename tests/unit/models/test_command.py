"""`train` as people use it: options from a command line, and a real signal to a real process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
from cyclopts import App

import rnnserve_models
from rnnserve_models.cells import CELLS
from rnnserve_models.checkpoint import RunFiles, load_checkpoint
from rnnserve_models.errors import RunError
from rnnserve_models.options import TrainOptions

SMALL = ["--hidden=8", "--embedding=4", "--batch=2", "--window=16", "--threads=1"]
PROGRAM = """
from cyclopts import App
app = App(name="rnnserve")
app.command("rnnserve_models.command:train")
app()
"""


def start(*arguments: str) -> subprocess.Popen[str]:
    room = Path(rnnserve_models.__file__).parents[1]
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "train", *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(room), "PYTHONUNBUFFERED": "1"},
    )


@pytest.fixture
def corpus(tmp_path, rhyme):
    path = tmp_path / "rhyme.txt"
    path.write_text(rhyme, encoding="utf-8")
    return path


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_and_says_how_to_go_on(tmp_path, corpus, number, code):
    run = tmp_path / "run"
    with start(str(run), f"--corpus={corpus}", "--steps=1000000", *SMALL) as process:
        assert process.stdout is not None
        assert "characters to learn" in process.stdout.readline()
        process.send_signal(number)
        output = process.stdout.read()
    assert process.returncode == code
    step = load_checkpoint(RunFiles(run).checkpoint).step
    assert output.splitlines()[-1] == (
        f"stopped after step {step} of 1000000, saved: go on with `rnnserve train {run} --resume`"
    )


def parse(*arguments: str) -> TrainOptions:
    app, parsed = App(result_action="return_value"), []

    @app.default
    def train(*, options: TrainOptions = TrainOptions()) -> None:  # noqa: B008
        parsed.append(options)

    app(list(arguments), exit_on_error=False, print_error=False)
    return parsed[0]


def test_no_arguments_give_the_defaults():
    assert parse() == TrainOptions()


def test_every_cell_can_be_asked_for():
    assert [parse(f"--cell={cell}").cell for cell in CELLS] == list(CELLS)


def test_a_page_of_help_does_not_wait_for_torch():
    program = "import sys, rnnserve_models.command; sys.exit('torch' in sys.modules)"
    room = Path(rnnserve_models.__file__).parents[1]
    subprocess.run(
        [sys.executable, "-c", program], check=True, env={**os.environ, "PYTHONPATH": str(room)}
    )


def test_every_option_has_a_line_of_help(capsys):
    app = App(name="rnnserve", result_action="return_value")
    app.command("rnnserve_models.command:train")
    app(["train", "--help"])
    page = capsys.readouterr().out
    for field in fields(TrainOptions):
        flag = f"--{field.name.replace('_', '-')} "
        line = next(line for line in page.splitlines() if flag in line)
        assert len(line.split(flag)[1].strip(" │").split(maxsplit=1)) == 2, field.name


@pytest.mark.parametrize(
    "argument",
    ["--hidden=0", "--dropout=1", "--cell=lstn", "--steps=many", "--learning-rate=0", "--kernel=1"],
)
def test_an_impossible_option_is_refused(argument):
    from cyclopts import CycloptsError

    with pytest.raises(CycloptsError):
        parse(argument)


def test_options_survive_the_checkpoint(tmp_path):
    options = TrainOptions(hidden=9, corpus=tmp_path / "a.txt", max_minutes=2.0)
    assert TrainOptions.from_dict(options.as_dict()) == options


def test_going_on_keeps_the_runs_own_options(tmp_path):
    saved = TrainOptions(hidden=9, seed=3)
    assert TrainOptions(resume=True).continuing(tmp_path, saved).hidden == 9
    assert TrainOptions(resume=True, threads=5).continuing(tmp_path, saved).threads == 5
    with pytest.raises(RunError, match="--hidden 9, not 10, --seed 3, not 4"):
        TrainOptions(hidden=10, seed=4).continuing(tmp_path, saved)
