"""Logs, to standard error, one line each: for people, or as JSON for machines.

A line a session at its end, with its counts; none a step, and never what a step held. Lines are
written by a thread of their own: whoever reads them may be slow, and the event loop is everybody's.
"""

import logging
import os
import queue
import sys
import threading
import time
from logging.handlers import QueueHandler
from typing import Literal

from pythonjsonlogger.json import JsonFormatter

from rnnserve.engine.meter import SessionEnd

HUMAN = "%(asctime)s %(levelname)s %(name)s: %(message)s"
MAX_UNWRITTEN = 10_000
"""Lines that wait for a slow reader; what comes beyond is counted, and told later."""

LAST_WORDS_S = 1.0
"""What is unwritten at the end has so long."""

Format = Literal["human", "json"]

sessions = logging.getLogger("rnnserve.sessions")


class Unwritten(QueueHandler):
    """Takes lines without waiting for whoever reads them."""

    def __init__(self, out: logging.Handler) -> None:
        """`out` writes them."""
        # A signal's handler may log while this thread does: of all queues, this one stands it.
        self._lines: queue.SimpleQueue[logging.LogRecord | None] = queue.SimpleQueue()
        super().__init__(self._lines)
        self._out = out
        self._taken = self._written = 0
        self._lost = 0
        self._writing = threading.Thread(target=self._write, name="log", daemon=True)
        self._writing.start()

    def enqueue(self, record: logging.LogRecord) -> None:
        if self._lines.qsize() >= MAX_UNWRITTEN:
            self._lost += 1
            return
        self._taken += 1
        self._lines.put(record)
        if self._lost:
            lost, self._lost = self._lost, 0
            logging.getLogger(__name__).warning("%d lines of the log were lost before this", lost)

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        # One process: nothing has to be made fit to travel. Arguments are facts, not objects that
        # might change until they are written.
        return record

    def wait_written(self, within_s: float) -> bool:
        """Whether nothing is left, now or within that time."""
        until_s = time.monotonic() + within_s
        while self._written < self._taken:
            if time.monotonic() >= until_s:
                return False
            time.sleep(0.001)
        return True

    def close(self) -> None:
        """Write what is left, as far as there is a reader; `logging.shutdown` comes here, at the
        exit at the latest."""
        self._lines.put(None)
        self._writing.join(LAST_WORDS_S)
        super().close()

    def _write(self) -> None:
        while (record := self._lines.get()) is not None:
            self._out.handle(record)
            self._written += 1


def set_up(level: str, form: Format = "human") -> None:
    """Send this process's logs to standard error, from `level` up; what is unwritten at the exit is
    written there."""
    out = logging.StreamHandler(sys.stderr)
    out.setFormatter(formatter(form))
    logging.basicConfig(handlers=[Unwritten(out)], level=level.upper(), format="%(message)s")


def wait_written(within_s: float = LAST_WORDS_S) -> bool:
    """For who ends the process: whether all that was logged is written, now or within that time.
    Where it isn't, nobody reads it, and an orderly exit would wait for ever."""
    ours = [one for one in logging.getLogger().handlers if isinstance(one, Unwritten)]
    return all(handler.wait_written(within_s) for handler in ours)


def hold_standard_streams() -> None:
    """Open what of the first three files is closed, on nothing: otherwise the next file that
    anybody opens would be taken for standard error."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def formatter(form: Format) -> logging.Formatter:
    """How a line looks. As JSON: `time` in UTC by RFC 3339, `level`, `logger`, `message`, and what
    else is known, under its name."""
    if form == "human":
        return logging.Formatter(HUMAN)
    return JsonFormatter(
        "{levelname}{name}{message}",
        style="{",
        rename_fields={"levelname": "level", "name": "logger"},
        timestamp="time",
    )


def log_session(end: SessionEnd) -> None:
    """A session has ended."""
    if not sessions.isEnabledFor(logging.INFO):
        return
    counts = {
        "model": end.model,
        "version": end.version,
        "session": end.session,
        "cause": end.cause.value,
        "lived_s": round(end.lived_s, 3),
        "steps": end.steps,
        "chunks": end.chunks,
        "tokens": end.tokens,
        "resends": end.resends,
        "failures": end.failures,
        "carry_bytes": end.carry_bytes,
    }
    sessions.info(
        "session %s of %s/%d ended: %s after %.3f s, %d steps in %d chunks, %d tokens, %d resends, "
        "%d failures, %d bytes of carry",
        *(end.session, end.model, end.version, end.cause.value, end.lived_s, end.steps, end.chunks),
        *(end.tokens, end.resends, end.failures, end.carry_bytes),
        extra=counts,
    )
