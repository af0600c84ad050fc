"""Prometheus on a free port of loopback, with a folder of its own, and what it answers."""

import json
import re
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from peers.place import PROMETHEUS, PROMETHEUS_PROGRAM, PROMTOOL_PROGRAM

T = TypeVar("T")
LISTENS = re.compile(r'msg="Listening on" address=(\S+)')
LOOK_EVERY_S = 0.05


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run it, and what it said. Skips the test where it isn't installed."""
    PROMETHEUS.require()
    return subprocess.run(
        [str(PROMTOOL_PROGRAM), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


class Prometheus:
    """The process; a context manager that leaves none behind. Skips where it isn't installed."""

    def __init__(self, configuration: Path, data: Path) -> None:
        self._command = [
            str(PROMETHEUS_PROGRAM),
            f"--config.file={configuration}",
            f"--storage.tsdb.path={data}",
            "--web.listen-address=127.0.0.1:0",
        ]
        self.log: list[str] = []
        self._url = ""

    def __enter__(self) -> "Prometheus":
        PROMETHEUS.require()
        self._process = subprocess.Popen(self._command, stderr=subprocess.PIPE, text=True)
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.log.append(line)
            if found := LISTENS.search(line):
                self._url = f"http://{found[1]}/api/v1/"
                break
        else:
            self._process.wait()
            self._process.stderr.close()
            raise AssertionError("Prometheus did not start:\n" + "".join(self.log))
        # A pipe that nobody reads would hold it up.
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        assert self._process.stderr is not None
        self._process.stderr.close()

    def _read(self) -> None:
        assert self._process.stderr is not None
        self.log += self._process.stderr

    def ask(self, path: str, **parameters: str) -> Any:
        """`data` of an answer of the HTTP API. Raises HTTPError where it is an error."""
        query = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(f"{self._url}{path}?{query}", timeout=120) as page:
            return json.load(page)["data"]

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series that an expression has now; a scalar as one without labels."""
        data = self.ask("query", query=expression)
        if data["resultType"] == "scalar":
            return [{"metric": {}, "value": data["result"]}]
        return data["result"]


def settled(look: Callable[[], T], wanted: Callable[[T], bool], within_s: float) -> T:
    """Look until what is there is what is wanted, or the time is over; the last that was seen."""
    until_s = time.monotonic() + within_s
    while not wanted(seen := look()) and time.monotonic() < until_s:
        time.sleep(LOOK_EVERY_S)
    return seen
