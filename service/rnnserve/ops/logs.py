"""Logs, to standard error, one line each: for people, or as JSON for machines.

A line a session at its end, with its counts; none a step, and never what a step held. Lines are
written by a thread of their own: whoever reads them may be slow, and the event loop is everybody's.
"""

import logging
import queue
import sys
import time
from logging.handlers import QueueHandler, QueueListener
from typing import Literal

from pythonjsonlogger.json import JsonFormatter

from rnnserve.engine.meter import SessionEnd

HUMAN = "%(asctime)s %(levelname)s %(name)s: %(message)s"
MAX_UNWRITTEN = 10_000
"""Lines that wait for a slow reader; what comes beyond is counted, and told later."""

Format = Literal["human", "json"]

sessions = logging.getLogger("rnnserve.sessions")


class Unwritten(QueueHandler):
    """Takes lines without waiting for whoever reads them."""

    def __init__(self, out: logging.Handler) -> None:
        """`out` writes them."""
        # A signal's handler may log while this thread does: of all queues, this one stands it.
        lines: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
        super().__init__(lines)
        self._lines = lines
        self._lost = 0
        self._writing: QueueListener | None = QueueListener(lines, out)
        self._writing.start()

    def enqueue(self, record: logging.LogRecord) -> None:
        if self._lines.qsize() >= MAX_UNWRITTEN:
            self._lost += 1
            return
        self._lines.put(record)
        if self._lost:
            lost, self._lost = self._lost, 0
            logging.getLogger(__name__).warning("%d lines of the log were lost before this", lost)

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        # One process: nothing has to be made fit to travel. Arguments are facts, not objects that
        # might change until they are written.
        return record

    def wait_written(self, within_s: float) -> None:
        """Returns when nothing is left, or it is that late."""
        until_s = time.monotonic() + within_s
        while not self._lines.empty() and time.monotonic() < until_s:
            time.sleep(0.001)

    def close(self) -> None:
        """Write what is left; `logging.shutdown` comes here, at the exit at the latest."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.stop()
        super().close()


def set_up(level: str, form: Format = "human") -> None:
    """Send this process's logs to standard error, from `level` up; what is unwritten at the exit is
    written there."""
    out = logging.StreamHandler(sys.stderr)
    out.setFormatter(formatter(form))
    logging.basicConfig(handlers=[Unwritten(out)], level=level.upper(), format="%(message)s")


def wait_written(within_s: float) -> None:
    """For who ends the process at once: give what was logged so long to be written."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, Unwritten):
            handler.wait_written(within_s)


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
