"""A contestant that is a process of its own, on the server's core."""

import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections import defaultdict
from pathlib import Path

from rnnserve_bench.cores import pinned
from rnnserve_bench.errors import BenchProblem

START_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 15.0
METRICS_TIMEOUT_S = 10.0
BUCKET = re.compile(r'le="([^"]+)"')


class ServerProcess:
    """Started at once, ready when its log says so; a context manager that leaves nothing behind."""

    def __init__(
        self,
        command: list[str],
        ready: re.Pattern[str],
        *,
        core: int,
        log: Path,
        environment: dict[str, str] | None = None,
    ) -> None:
        """`ready` finds in the log the line that says the server answers from now on.

        Raises BenchProblem with the log's end when it ends first or takes START_TIMEOUT_S.
        """
        self._log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        with pinned(core), log.open("wb") as sink:
            self._process = subprocess.Popen(
                command, stdout=sink, stderr=subprocess.STDOUT, env=environment
            )
        self.pid = self._process.pid
        try:
            self.ready = self._wait(ready)
        except BaseException:
            self.close()
            raise

    def _wait(self, ready: re.Pattern[str]) -> re.Match[str]:
        until_s = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < until_s:
            ended = self._process.poll() is not None
            text = self._log.read_text(errors="replace")
            if found := ready.search(text):
                return found
            if ended:
                break
            time.sleep(0.05)
        raise BenchProblem(f"a server did not start; its log ends with\n{text[-2000:]}")

    @property
    def pids(self) -> tuple[int, ...]:
        """The processes that make up the server."""
        return (self.pid,)

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    @property
    def exit_status(self) -> int | None:
        """None while it runs; negative where a signal ended it."""
        return self._process.poll()

    def ended_within(self, timeout_s: float) -> bool:
        """Whether it ends by itself in that time: a crash takes a moment."""
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def stop_politely(self) -> None:
        """SIGTERM; returns when it has ended, and ends it when it doesn't."""
        if self.alive:
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.close()

    def close(self) -> None:
        if self.alive:
            self._process.kill()
        self._process.wait()


class RnnServer(ServerProcess):
    """`rnnserve serve` on a repository."""

    READY = re.compile(r"rnnserve is ready: grpc (\S+), metrics (\S+), models")

    def __init__(
        self,
        repository: Path,
        *options: str,
        core: int,
        log: Path,
    ) -> None:
        """Models, ports and `options` are its command line's; both ports are free ones."""
        command = [sys.executable, "-m", "rnnserve", "serve"]
        command += ["--repository", str(repository), "--port", "0", "--metrics-port", "0"]
        super().__init__([*command, "--grace-s", "0", *options], self.READY, core=core, log=log)
        self.target, self.metrics_url = self.ready.groups()

    def metrics(self) -> dict[str, float]:
        """The samples of /metrics by name, added up over labels; a bucket's name ends in `<=LE`."""
        with urllib.request.urlopen(self.metrics_url, timeout=METRICS_TIMEOUT_S) as page:
            lines = page.read().decode().splitlines()
        values: defaultdict[str, float] = defaultdict(float)
        for line in lines:
            if not line.startswith("#"):
                series, value = line.rsplit(" ", 1)
                bucket = BUCKET.search(series)
                name = series.partition("{")[0] + (f"<={bucket[1]}" if bucket else "")
                values[name] += float(value)
        return dict(values)


class EchoServer(ServerProcess):
    """The bare wire: `rnnserve_bench.echo_server`."""

    READY = re.compile(r"echo is ready: (\S+)")

    def __init__(self, *, core: int, log: Path) -> None:
        command = [sys.executable, "-m", "rnnserve_bench.echo_server"]
        super().__init__(command, self.READY, core=core, log=log)
        self.target = self.ready.group(1)
