"""Lines of the log: for machines whole and with their fields, and never at the cost of the loop."""

import json
import logging
import re
from datetime import UTC, datetime

import pytest

from rnnserve.engine.meter import Cause, SessionEnd
from rnnserve.ops import logs

WITHIN_S = 10.0
END = SessionEnd(
    *("letters", 3, "abc123", Cause.IDLE, 12.3456),
    *{"steps": 7, "chunks": 4, "tokens": 2, "resends": 1, "failures": 0, "carry": 2048}.values(),
)


class Stuck(logging.Handler):
    """Writes nothing until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.written.append(record.getMessage())


@pytest.fixture
def ended(caplog) -> logging.LogRecord:
    with caplog.at_level(logging.INFO, "rnnserve.sessions"):
        logs.log_session(END)
    (record,) = caplog.records
    return record


def test_a_line_for_machines_is_one_object_with_its_fields(ended):
    line = logs.formatter("json").format(ended)
    assert "\n" not in line
    told = json.loads(line)
    assert told["level"] == "INFO"
    assert told["logger"] == "rnnserve.sessions"
    assert told["model"] == "letters"
    assert told["version"] == 3
    assert told["cause"] == "idle"
    assert told["steps"] == 7
    assert told["carry_bytes"] == 2048
    written = datetime.fromisoformat(told["time"])
    assert written.utcoffset().total_seconds() == 0
    assert abs(datetime.now(UTC) - written).total_seconds() < 60


def test_a_line_for_people_says_the_same(ended):
    line = logs.formatter("human").format(ended)
    assert "session abc123 of letters/3 ended: idle after 12.346 s, 7 steps in 4 chunks" in line
    assert re.match(r"\d{4}-\d\d-\d\d ", line)


def test_an_exception_is_inside_its_object():
    try:
        raise ValueError("first\nsecond")
    except ValueError as error:
        record = logging.getLogger("x").makeRecord(
            "x", logging.ERROR, "f", 1, "wrong", (), (type(error), error, error.__traceback__)
        )
    line = logs.formatter("json").format(record)
    assert "\n" not in line
    assert "second" in json.loads(line)["exc_info"]


def test_nothing_is_made_of_a_session_where_nobody_reads_it(caplog):
    with caplog.at_level(logging.WARNING, "rnnserve.sessions"):
        logs.log_session(END)
    assert caplog.records == []


def test_who_logs_is_not_held_up_and_what_was_lost_is_counted(monkeypatch, caplog):
    monkeypatch.setattr(logs, "MAX_UNWRITTEN", 3)
    out = Stuck()
    out.acquire()
    taken = logs.Unwritten(out)
    logger = logging.Logger("crowded")
    logger.addHandler(taken)
    for number in range(10):
        logger.info("line %d", number)
    out.release()
    taken.wait_written(WITHIN_S)
    assert caplog.messages == []
    logger.info("line 10")
    taken.close()
    written = [int(line.split()[1]) for line in out.written]
    # The writer may have taken one before it got stuck.
    kept = len(written) - 1
    assert kept in (3, 4)
    assert written == [*range(kept), 10]
    assert caplog.messages == [f"{10 - kept} lines of the log were lost before this"]


def test_what_was_logged_is_written_before_the_end():
    out = Stuck()
    taken = logs.Unwritten(out)
    logger = logging.Logger("last words")
    logger.addHandler(taken)
    for number in range(500):
        logger.info("%d", number)
    taken.close()
    assert out.written == [str(number) for number in range(500)]
    taken.close()
