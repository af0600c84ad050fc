from collections.abc import Callable
from dataclasses import dataclass

import pytest

from rnnserve.cli import main
from unit.client.fake import Running


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str


Run = Callable[..., Ran]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the command line in this process."""
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str) -> Ran:
        code = 0
        try:
            main(arguments)
        except SystemExit as ended:
            code = int(ended.code or 0)
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return run


@pytest.fixture
def ask(run: Run, running: Running) -> Run:
    """The same, against the fake."""
    return lambda *arguments: run(*arguments, "--target", running.target)
