"""A real server in a process of its own, on free ports of loopback."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

READY = re.compile(r"rnnserve is ready: grpc (\S+), metrics (\S+), models")
START = (sys.executable, "-m", "rnnserve")


def free_port() -> int:
    """For a server whose port has to be known before it starts."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]


class ServerProcess:
    """`rnnserve serve` on a repository; a context manager that leaves no process behind."""

    def __init__(
        self, repository: Path, *options: str, command: tuple[str, ...] = START, port: int = 0
    ) -> None:
        self._command = [*command, "serve", "--repository", str(repository)]
        self._command += ["--port", str(port), "--metrics-port", "0", *options]
        self.log: list[str] = []
        self.target = self.metrics_url = ""

    def __enter__(self) -> "ServerProcess":
        environment = {**os.environ, "PYTHONWARNINGS": "error", "PYTHONUNBUFFERED": "1"}
        began_s = time.monotonic()
        self.process = subprocess.Popen(
            self._command, stderr=subprocess.PIPE, text=True, env=environment
        )
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(line)
            if found := READY.search(line):
                self.target, self.metrics_url = found.groups()
                break
        else:
            self.process.wait()
            self.process.stderr.close()
            raise AssertionError("the server did not start:\n" + "".join(self.log))
        self.ready_after_s = time.monotonic() - began_s
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join()
        assert self.process.stderr is not None
        self.process.stderr.close()

    def _read(self) -> None:
        assert self.process.stderr is not None
        self.log += self.process.stderr

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def stop(self, timeout_s: float = 300.0) -> int:
        """SIGTERM, and the exit status."""
        self.signal(signal.SIGTERM)
        return self.process.wait(timeout_s)

    def metrics(self) -> dict[str, float]:
        """Every sample of /metrics by its name and labels, as text."""
        with urllib.request.urlopen(self.metrics_url) as page:
            lines = page.read().decode().splitlines()
        samples = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        return {name: float(value) for name, value in samples}
