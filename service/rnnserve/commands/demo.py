"""`rnnserve demo`."""

import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cyclopts import Parameter
from rich.console import Console

from rnnserve.commands.generate import GenerateOptions, generate
from rnnserve.commands.target import Target
from rnnserve.errors import OperatorError

READY = re.compile(r"rnnserve is ready: grpc (\S+), metrics (\S+), models")
SHOWN = ("sessions_opened_total", "steps_total", "tokens_total", "batch_rows_count")
LATENCY = re.compile(r'rnnserve_step_seconds_bucket\{le="([^"]+)",model="[^"]+"\} (\S+)')
STOP_TIMEOUT_S = 30.0


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class DemoOptions:
    """What is shown."""

    repository: Path = Path("repository")
    """Folder of models, in Triton's layout."""
    prompt: str = "def "
    """Text to go on with."""
    max_tokens: int = 600
    """Tokens to make."""
    temperature: float = 0.7
    """Below 1 the likely becomes likelier."""
    seed: int = 1
    """The same seed gives the same text again."""


DEFAULTS = DemoOptions()


def demo(model: str, /, *, options: DemoOptions = DEFAULTS) -> None:
    """Show a model at work: serve it, let it write, look at the metrics, stop.

    The server is a process of its own on free ports of loopback, for as long as this takes.

    Parameters
    ----------
    model: str
        Name of a model with a tokenizer.
    """
    console = Console(stderr=True, highlight=False)
    with _server(options.repository) as (process, target, metrics_url):
        console.rule(f"{model} goes on with {options.prompt!r}, served on {target}")
        print(options.prompt, end="", flush=True)
        wanted = GenerateOptions(
            prompt=options.prompt,
            max_tokens=options.max_tokens,
            temperature=options.temperature,
            seed=options.seed,
        )
        generate(model, options=wanted, server=Target(target=target))
        console.rule(f"what {metrics_url} says of it")
        for line in _shown(metrics_url, model):
            console.print(line, markup=False)
        process.send_signal(signal.SIGTERM)
        status = process.wait(STOP_TIMEOUT_S)
        console.rule(f"the server stopped with status {status}")
    if status:
        raise OperatorError(f"the server ended with status {status}; its log stands above")


@contextmanager
def _server(repository: Path) -> Iterator[tuple[subprocess.Popen[str], str, str]]:
    """A server process with its gRPC target and its metrics address; ended on leaving."""
    command = [sys.executable, "-m", "rnnserve", "serve", "--repository", str(repository)]
    with subprocess.Popen(
        [*command, "--port", "0", "--metrics-port", "0"], stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        log = []
        try:
            for line in process.stderr:
                log.append(line)
                if found := READY.search(line):
                    yield process, found[1], found[2]
                    return
        finally:
            if process.poll() is None:
                process.kill()
        raise OperatorError("the server did not start:\n" + "".join(log))


def _shown(metrics_url: str, model: str) -> Iterator[str]:
    """The lines of /metrics that tell of this model's work."""
    with urllib.request.urlopen(metrics_url) as page:
        text = page.read().decode()
    for line in text.splitlines():
        if f'model="{model}"' in line and any(f"rnnserve_{name}" in line for name in SHOWN):
            yield line
    mine = "\n".join(line for line in text.splitlines() if f'model="{model}"' in line)
    buckets = [(float(le), float(count)) for le, count in LATENCY.findall(mine)]
    if not buckets or not buckets[-1][1]:
        return
    for share in (0.5, 0.99):
        bound_s = next(le for le, count in buckets if count >= share * buckets[-1][1])
        yield f"{share:.0%} of the chunks were answered within {bound_s * 1e3:g} ms of arriving"
