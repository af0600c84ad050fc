import os
import subprocess
import sys

import pytest

from rnnserve import __version__, cli
from rnnserve.client import ServerError
from rnnserve.errors import ModelProblem, OperatorError

HEAVY = ("grpc", "onnxruntime", "torch", "numpy", "onnx")


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        check=False,
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, **environment},
    )


def test_help_lists_every_command_in_the_order_of_their_use(run):
    shown = run("--help").out
    places = [shown.index(f" {command.name} ") for command in cli.COMMANDS]
    assert places == sorted(places)
    assert shown.index("Make a model") < shown.index("Serve and use it")


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]])
def test_asking_for_help_loads_nothing_heavy(arguments):
    ran = python(
        f"import sys; from rnnserve.cli import main; main({arguments}); "
        f"print('loaded', [name for name in {HEAVY} if name in sys.modules])"
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.endswith("loaded []\n")


def test_the_client_loads_no_model_runtime():
    ran = python(
        "import sys, rnnserve.client, rnnserve.commands.score; "
        "print([name for name in ('onnxruntime', 'torch', 'onnx') if name in sys.modules])"
    )
    assert (ran.stdout, ran.stderr) == ("[]\n", "")


@pytest.mark.parametrize("command", ["serve", "models", "generate", "score", "audit", "health"])
def test_help_of_a_command_says_more_than_the_list_and_ends_with_an_example(run, command):
    shown = run(command, "--help").out
    (known,) = [one for one in cli.COMMANDS if one.name == command]
    assert known.line in shown
    assert "[env var: RNNSERVE_" in shown
    assert shown.rstrip().endswith(known.examples[-1])


@pytest.mark.parametrize("command", cli.COMMANDS, ids=lambda command: command.name)
def test_an_example_is_a_call_of_its_command(command):
    assert all(f"rnnserve {command.name}" in example for example in command.examples)


def test_version(run):
    assert run("--version").out.strip() == __version__


def test_an_unknown_command_is_refused_with_2(run):
    ran = run("sing")
    assert ran.code == 2
    assert "sing" in ran.err


def test_an_option_may_come_from_the_environment(run, running, monkeypatch):
    monkeypatch.setenv("RNNSERVE_TARGET", running.target)
    assert "count" in run("models").out


def test_the_command_line_wins_over_the_environment(ask, monkeypatch):
    monkeypatch.setenv("RNNSERVE_TARGET", "127.0.0.1:1")
    assert "count" in ask("models").out


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (["models", "--target", "nowhere"], "--target"),
        (["models", "--target", "host:99999"], "--target"),
        (["generate", "letters", "--prompt", "a", "--max-tokens", "-1"], "--max-tokens"),
        (["generate", "letters", "--prompt", "a", "--temperature", "warm"], "--temperature"),
        (["generate", "letters", "--prompt", "a", "--top-p", "0"], "--top-p"),
        (["generate", "letters"], "--prompt"),
        (["generate", "letters", "--prompt", "a", "--stop-token", "-3"], "--stop-token"),
        (["generate", "letters", "--prompt", "a", "--stop-token", "x"], "--stop-token"),
        (["generate", "letters", "--prompt", "a", "--repetition-penalty", "0"], "--repetition"),
        (["score", "letters", "file", "--chunk", "0"], "--chunk"),
    ],
)
def test_a_malformed_value_names_its_option(run, arguments, option):
    ran = run(*arguments)
    assert ran.code == 2
    assert option in ran.err
    assert "Traceback" not in ran.err


def test_a_malformed_value_of_the_environment_names_its_variable(run, monkeypatch):
    monkeypatch.setenv("RNNSERVE_CHUNK", "many")
    ran = run("score", "letters", "file")
    assert ran.code == 2
    assert "RNNSERVE_CHUNK" in ran.err


def test_no_server_is_one_sentence(run):
    ran = run("models", "--target", "127.0.0.1:1")
    assert ran.code == 1
    assert ran.err.startswith("rnnserve: no answer from 127.0.0.1:1")
    assert "rnnserve serve" in ran.err
    assert ran.err.count("\n") == 1


@pytest.mark.parametrize(
    "error",
    [
        OperatorError("free the port"),
        ModelProblem("config.pbtxt: no input"),
        ServerError("draining", "the server is stopping"),
    ],
)
def test_an_error_meant_for_people_is_its_own_text(error):
    assert cli.sentence_of(error) == str(error)


def test_an_error_of_a_room_that_knows_nothing_of_this_one_is_found_by_name():
    errors = pytest.importorskip("rnnserve_models.errors")
    assert cli.sentence_of(errors.CorpusError("the text is empty")) == "the text is empty"


def test_a_bug_has_no_sentence():
    assert cli.sentence_of(KeyError("x")) is None


@pytest.mark.parametrize("wrapped", [True, False])
def test_a_missing_training_library_says_what_to_install(wrapped):
    missing = ModuleNotFoundError("No module named 'torch.nn'", name="torch.nn")
    error = ImportError("Cannot import module") if wrapped else missing
    error.__cause__ = missing if wrapped else None
    assert "pip install 'rnnserve[train]'" in cli.sentence_of(error)


def test_another_missing_library_is_a_bug():
    assert cli.sentence_of(ModuleNotFoundError("No module named 'x'", name="x")) is None


def test_training_without_torch_ends_with_the_sentence_and_no_traceback(tmp_path):
    (tmp_path / "torch.py").write_text("raise ModuleNotFoundError('gone', name='torch')\n")
    ran = python(
        "import sys; from rnnserve.cli import main; main(sys.argv[1:] or ['train', 'run'])",
        PYTHONPATH=str(tmp_path),
    )
    assert ran.returncode == 1
    assert "pip install 'rnnserve[train]'" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_ctrl_c_ends_with_130(monkeypatch, run):
    def interrupt(called):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "build", interrupt)
    assert run("models").code == cli.INTERRUPTED


def test_a_reader_that_goes_away_is_no_error(running):
    ran = subprocess.run(
        f"{sys.executable} -m rnnserve generate letters --prompt a --max-tokens 100000 "
        f"--target {running.target} | head -c 10; echo ${{PIPESTATUS[0]}}",
        check=True,
        capture_output=True,
        text=True,
        shell=True,
        executable="/bin/bash",
        timeout=600,
    )
    assert ran.stdout == f"abcdabcdab{cli.PIPE_CLOSED}\n"
    assert ran.stderr == ""
