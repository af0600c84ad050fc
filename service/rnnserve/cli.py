"""The command line: `rnnserve COMMAND`.

The one place that reads the environment: every option may also be given as RNNSERVE_OPTION. The
commands are named, not imported, so that asking for help loads neither gRPC nor a model runtime.
"""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from cyclopts import App, Group
from cyclopts.config import Env

from rnnserve import __version__

FAILED, INTERRUPTED, PIPE_CLOSED = 1, 130, 141

MAKE = Group.create_ordered("Make a model")
SERVE = Group.create_ordered("Serve and use it")


@dataclass(frozen=True)
class Command:
    """A command: where it is, the line that the list shows for it, and how its help ends."""

    name: str
    path: str
    group: Group
    line: str
    examples: tuple[str, ...]


COMMANDS = (
    Command(
        "train",
        "rnnserve_models.command:train",
        MAKE,
        "Train a character model on a text.",
        (
            "rnnserve train runs/letters",
            "rnnserve train runs/mine --corpus mine.txt --cell gru --hidden 512 --max-minutes 10",
        ),
    ),
    Command(
        "export",
        "rnnserve_export.command:export",
        MAKE,
        "Export a trained run into a model repository.",
        ("rnnserve export runs/letters --repository repository",),
    ),
    Command(
        "study",
        "rnnserve_export.study_command:study",
        MAKE,
        "Compare recurrent networks with other architectures.",
        (
            "rnnserve study",
            "rnnserve study studies/mine --corpus mine.txt --seeds 5 --minutes 90",
            "rnnserve study look --quick",
        ),
    ),
    Command(
        "inspect",
        "rnnserve_export.foreign.command:inspect",
        MAKE,
        "Look at an ONNX file, and say how it could be served.",
        (
            "rnnserve inspect vad.onnx",
            "rnnserve inspect vad.onnx --state mem:mem_out --json",
        ),
    ),
    Command(
        "import",
        "rnnserve_export.foreign.command:import_model",
        MAKE,
        "Publish an ONNX file that somebody else made into a model repository.",
        (
            "rnnserve import vad.onnx --constant sr=16000",
            "rnnserve import asr.onnx --state cache:new_cache --state len:new_len",
            "rnnserve import tts.onnx --once speaker --batch-axis hidden=1 --max-batch 32",
        ),
    ),
    Command(
        "serve",
        "rnnserve.commands.serve:serve",
        SERVE,
        "Serve every model of a repository over gRPC.",
        (
            "rnnserve serve --repository repository",
            "RNNSERVE_PORT=9001 rnnserve serve --max-sessions 4096",
        ),
    ),
    Command(
        "models",
        "rnnserve.commands.models:models",
        SERVE,
        "List the models of a running server.",
        (
            "rnnserve models",
            "rnnserve models --target gpu-box:8001 --json",
            "rnnserve models --costs",
        ),
    ),
    Command(
        "generate",
        "rnnserve.commands.generate:generate",
        SERVE,
        "Let a model go on with a text.",
        (
            'rnnserve generate letters --prompt "def main(" --max-tokens 400',
            'rnnserve generate letters --prompt "def " --temperature 0.7 --top-k 20 --seed 7',
            'rnnserve generate letters --prompt "def " --max-tokens 12 --logprobs',
        ),
    ),
    Command(
        "score",
        "rnnserve.commands.score:score",
        SERVE,
        "Measure how well a model predicts a text.",
        ("rnnserve score letters held-out.txt", "rnnserve score letters held-out.txt --chunk 1"),
    ),
    Command(
        "audit",
        "rnnserve.commands.audit:audit",
        SERVE,
        "Check that a running server's books are in order.",
        ("rnnserve audit", "rnnserve audit --target gpu-box:8001 && echo sound"),
    ),
    Command(
        "health",
        "rnnserve.commands.health:health",
        SERVE,
        "Ask whether a running server takes new sessions.",
        ("rnnserve health", "rnnserve health --target 127.0.0.1:8003 --timeout-s 1"),
    ),
    Command(
        "bench",
        "rnnserve_bench.load_command:bench",
        SERVE,
        "Put a running server under load, and measure it.",
        (
            "rnnserve bench letters",
            "rnnserve bench letters --rate 2000 --sessions 2000 --duration-s 60 --max-p99-ms 50",
            "rnnserve bench letters --rate 100..900 --sessions 256 --chunk 1,1,64 --png ramp.png",
            "rnnserve bench letters --sessions 256 --frame 64 --think-ms 20 --json frames.json",
        ),
    ),
    Command(
        "demo",
        "rnnserve.commands.demo:demo",
        SERVE,
        "Show a model at work: serve it, let it write, look at the metrics, stop.",
        ("rnnserve demo letters --repository repository",),
    ),
)

SENTENCES = frozenset(
    {
        "rnnserve.errors.OperatorError",
        "rnnserve.errors.ModelProblem",
        "rnnserve.client.errors.ServerError",
        "rnnserve_models.errors.TrainingError",
        "rnnserve_bench.errors.BenchProblem",
    }
)
"""Errors, with all that derive from them, whose text is meant for the person at the command line.
By name: an error that was raised was imported, one that wasn't need not be."""

TRAINING_EXTRA = frozenset({"torch", "onnx", "matplotlib", "networkx", "sklearn"})


def build(called: str | None) -> App:
    """The command line; the command that is called shows its own help, the others one line."""
    app = App(
        name="rnnserve",
        help="Recurrent networks, trained, exported and served in sessions that keep their carry.",
        version=__version__,
        config=Env("RNNSERVE_", command=False),
        result_action="return_value",
        help_epilogue="rnnserve COMMAND --help shows a command's options and an example.",
    )
    for place, command in enumerate(COMMANDS):
        # Given here, a help text would hide the command's own.
        line = None if command.name == called else command.line
        app.command(
            command.path,
            name=command.name,
            group=command.group,
            sort_key=place,
            help=line,
            help_epilogue="\n".join(["```", *command.examples, "```"]),
        )
    return app


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs a command and exits: 0, 1 with one sentence, 2 for a malformed option, 130 by Ctrl-C."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        build(arguments[0] if arguments else None)(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has gone; what Python would still flush at its exit must not complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(PIPE_CLOSED)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except Exception as error:
        sentence = sentence_of(error)
        if sentence is None:
            raise
        print(f"rnnserve: {sentence}", file=sys.stderr)
        sys.exit(FAILED)


def sentence_of(error: BaseException) -> str | None:
    """What to tell the person, or None for a bug."""
    missing = error.__cause__ if isinstance(error, ImportError) else None
    for absent in (error, missing):
        name = absent.name if isinstance(absent, ModuleNotFoundError) else None
        if name and name.partition(".")[0] in TRAINING_EXTRA:
            return f"{name} is missing, needs the training extra: pip install 'rnnserve[train]'"
    names = {f"{kind.__module__}.{kind.__qualname__}" for kind in type(error).__mro__}
    return str(error) if names & SENTENCES else None
