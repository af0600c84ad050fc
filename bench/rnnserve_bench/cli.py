"""The command line: `python -m rnnserve_bench COMMAND`."""

import signal
import sys
from collections.abc import Sequence

from cyclopts import App

from rnnserve_bench.errors import BenchProblem

FAILED, INTERRUPTED, TERMINATED = 1, 130, 143

COMMANDS = (
    (
        "run",
        "rnnserve_bench.run:run",
        "Measure every contestant side by side, and write RESULTS.md.",
        (
            "python -m rnnserve_bench run",
            "python -m rnnserve_bench run --quick",
            "python -m rnnserve_bench run --only streams64 --only frames --rounds 9",
        ),
    ),
    (
        "profile",
        "rnnserve_bench.profile:profile",
        "Show where each microsecond of the server's CPU goes.",
        ("python -m rnnserve_bench profile --streams 64 --seconds 20",),
    ),
    (
        "capacity",
        "rnnserve_bench.capacity.command:capacity",
        "2,000 sessions, three times the peak, 100,000 cancelled streams.",
        (
            "python -m rnnserve_bench capacity",
            "python -m rnnserve_bench capacity --only overload --quick",
        ),
    ),
    (
        "soak",
        "rnnserve_bench.soak.command:soak",
        "Mixed traffic for an hour; fails when anything of the server grows.",
        ("python -m rnnserve_bench soak", "python -m rnnserve_bench soak --minutes 5 --seed 3"),
    ),
    (
        "observing",
        "rnnserve_bench.observing:observing",
        "What counting costs a step, beside not counting.",
        ("python -m rnnserve_bench observing", "python -m rnnserve_bench observing --turns 2"),
    ),
    (
        "report",
        "rnnserve_bench.commands:report",
        "Write RESULTS.md anew from results.json.",
        ("python -m rnnserve_bench report --output bench",),
    ),
    (
        "list",
        "rnnserve_bench.commands:list_scenarios",
        "List the scenarios.",
        ("python -m rnnserve_bench list",),
    ),
    (
        "install-triton",
        "rnnserve_bench.commands:install_triton",
        "Install Triton's wheel into an environment of its own.",
        ("python -m rnnserve_bench install-triton",),
    ),
)


def build(called: str | None) -> App:
    """The command line; the command that is called shows its own help, the others one line."""
    app = App(
        name="python -m rnnserve_bench",
        help="rnnserve beside the raw runtime, the bare wire, torch and Triton, all in one run on "
        "one machine.",
        result_action="return_value",
        help_epilogue="python -m rnnserve_bench COMMAND --help shows options and examples.",
    )
    for place, (name, path, line, examples) in enumerate(COMMANDS):
        app.command(
            path,
            name=name,
            sort_key=place,
            help=None if name == called else line,
            help_epilogue="\n".join(["```", *examples, "```"]),
        )
    return app


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs a command and exits: 0, 1 with a sentence, 2 for a malformed option, 130 by Ctrl-C."""
    arguments = sys.argv[1:] if arguments is None else arguments
    # A terminated run ends what it started, as an interrupted one does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    try:
        build(arguments[0] if arguments else None)(arguments)
    except BenchProblem as problem:
        print(f"rnnserve_bench: {problem}", file=sys.stderr)
        sys.exit(FAILED)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
