"""Every option of a run, defined once: name, type, limits, default and help."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from rnnserve_bench.load import Span
from rnnserve_bench.triton import CACHE

Count = Annotated[int, Parameter(validator=Number(gte=1))]
Seconds = Annotated[float, Parameter(validator=Number(gt=0))]

FULL_OUTPUT, QUICK_OUTPUT = Path("bench"), Path("runs/bench-quick")


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """What is measured, and for how long."""

    only: Annotated[tuple[str, ...], Parameter(negative=())] = ()
    """Scenarios, by the names that `list` shows; all of them by default. A name's beginning will
    do. Then nothing is written unless --output is given."""
    rounds: Count = 5
    """Windows of each contestant; in a round each one has one."""
    window_s: Seconds = 2.0
    """Seconds that a window is measured; some scenarios take a part of it."""
    warm_s: Seconds = 0.5
    """Seconds that a contestant runs before its window."""
    tokens: Count = 500
    """Tokens that each Generate call asks for."""
    sessions: Count = 10_000
    """Sessions that are open at once when memory is measured."""
    client: Literal["light", "grpc"] = "light"
    """What makes the load. grpc.aio's client is saturated before a bare server is, so there is a
    light one."""
    quick: Annotated[bool, Parameter(negative=())] = False
    """A smoke of about a minute: short windows, few scenarios. Its figures mean nothing."""
    output: Path | None = None
    """Folder for RESULTS.md, results.json and the figures; bench, or runs/bench-quick."""
    triton: Annotated[Path, Parameter(show_default=False)] = CACHE
    """Environment of the Triton wheel, where `install-triton` puts it by default."""

    @property
    def span(self) -> Span:
        return Span(self.warm_s, self.window_s)

    @property
    def folder(self) -> Path | None:
        """Where to write, or None."""
        if self.output is None and self.only:
            return None
        return self.output or (QUICK_OUTPUT if self.quick else FULL_OUTPUT)

    @property
    def command(self) -> str:
        """The command that runs the same again, without anybody's paths."""
        words = ["python -m rnnserve_bench run", *(f"--only {name}" for name in self.only)]
        if self.quick:
            return " ".join([*words, "--quick"])
        default = RunOptions()
        for name in ("rounds", "window_s", "warm_s", "tokens", "sessions", "client"):
            if (value := getattr(self, name)) != getattr(default, name):
                words.append(f"--{name.replace('_', '-')} {value}")
        return " ".join(words)

    def effective(self) -> "RunOptions":
        """With what --quick stands for."""
        if not self.quick:
            return self
        return replace(self, rounds=2, window_s=0.4, warm_s=0.1, tokens=60, sessions=500)
