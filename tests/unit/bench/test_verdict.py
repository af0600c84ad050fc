"""What a load's end is judged by, and what is found out before it begins."""

import asyncio
import socket
import sys
import time

import pytest

from rnnserve.commands.target import Target
from rnnserve.errors import OperatorError
from rnnserve_bench.errors import BenchProblem
from rnnserve_bench.load_command import LoadOptions, Verdicts, judge, plan_of, tls_of
from rnnserve_bench.tls import Tls
from rnnserve_bench.traffic import needs
from rnnserve_bench.traffic.book import NEVER, STREAM_ENDED, Book
from rnnserve_bench.traffic.precise import PreciseSelector
from rnnserve_bench.traffic.summary import Summary, summarise

LIMITS = [Verdicts(max_error_share=1.0), Verdicts(max_p99_ms=1e9)]
FIRST_BEYOND_SELECT = 1024


def dies_at(death_s: float, *, lost_streams: int = 1) -> Summary:
    """A closed loop of 100 answers a second, of 8 s, whose server is gone from then on."""
    book = Book()
    for number in range(int(death_s * 100)):
        moment_s = number / 100
        book.add(moment_s, moment_s, moment_s, moment_s + 0.001, 1, "answered")
    book.add(death_s, death_s, death_s, NEVER, 1, STREAM_ENDED)
    return summarise(book.rows(), 0, 8, (0.1,), lost_streams)


def test_a_server_that_died_passes_no_limit_and_none_at_all():
    summary = dies_at(5)
    assert summary.error_share < 0.01
    for verdicts in (Verdicts(), Verdicts(max_error_share=0.01, max_p99_ms=50)):
        with pytest.raises(BenchProblem, match="ended before the time was over"):
            judge(summary, verdicts)
    assert any("weren't got back" in warning for warning in summary.warnings)


def test_streams_that_were_got_back_are_judged_by_the_limits():
    summary = dies_at(5, lost_streams=0)
    judge(summary, Verdicts(max_error_share=0.01, max_p99_ms=50))
    with pytest.raises(BenchProblem, match="weren't answered"):
        judge(summary, Verdicts(max_error_share=0))


def test_seconds_without_an_answer_show():
    summary = dies_at(5)
    assert summary.silent_s == pytest.approx(3, abs=0.02)
    assert any("3.0 of 8.0 s" in warning for warning in summary.warnings)
    assert dies_at(7.5).silent_s == 0


def test_a_time_in_which_nothing_waited_is_no_silence():
    book = Book()
    for moment_s in (0.0, 3.0, 6.0):
        book.add(moment_s, moment_s, moment_s, moment_s + 0.01, 1, "answered")
    assert summarise(book.rows(), 0, 8, ()).silent_s == 0


@pytest.mark.parametrize("verdicts", LIMITS)
def test_a_load_without_anything_due_or_answered_is_within_no_limit(verdicts):
    nothing_due = summarise(Book().rows(), 1, 2, ())
    with pytest.raises(BenchProblem, match="nothing was due"):
        judge(nothing_due, verdicts)
    assert "Nothing was due" in nothing_due.warnings[0]
    refused = Book()
    refused.add(1.5, 1.5, 1.5, 1.6, 1, "overloaded")
    with pytest.raises(BenchProblem, match="nothing was answered"):
        judge(summarise(refused.rows(), 1, 2, ()), verdicts)


def test_expired_sessions_come_with_what_to_change():
    book = Book()
    book.add(0, 0, 0, 0.1, 1, "session_expired")
    assert "--idle-timeout-s" in summarise(book.rows(), 0, 1, ()).warnings[-1]


def test_a_file_that_cannot_be_written_is_refused(tmp_path):
    needs.check_file("--json", None)
    needs.check_file("--json", tmp_path / "fresh.json")
    with pytest.raises(BenchProblem, match=r"--json .*there is no folder"):
        needs.check_file("--json", tmp_path / "nosuch" / "x.json")
    with pytest.raises(BenchProblem, match="that is a folder"):
        needs.check_file("--json", tmp_path)


def test_a_picture_without_matplotlib_says_what_to_install(tmp_path, monkeypatch):
    needs.check_picture("--png", tmp_path / "load.png")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    needs.check_picture("--png", None)
    with pytest.raises(BenchProblem, match="pip install matplotlib"):
        needs.check_picture("--png", tmp_path / "load.png")


def test_more_connections_than_a_process_may_have_are_a_sentence(monkeypatch):
    monkeypatch.setattr(needs.resource, "getrlimit", lambda _: (256, 256))
    needs.check_connections(192)
    with pytest.raises(BenchProblem, match="ulimit -n"):
        needs.check_connections(193)


def test_every_connection_has_a_stream_unless_streams_are_given():
    def streams(**more: int) -> int:
        return plan_of(LoadOptions(sessions=1100, **more), "m", Target()).streams

    assert (streams(), streams(connections=1050), streams(connections=9, streams=3)) == (
        256,
        1050,
        3,
    )


def test_unfit_certificates_are_a_sentence(tmp_path):
    (tmp_path / "half.pem").write_text("half of it")
    assert tls_of(Target()) is None
    with pytest.raises(BenchProblem, match="--tls-ca"):
        tls_of(Target(tls_ca=tmp_path / "half.pem"))
    with pytest.raises(OperatorError, match="--tls-ca"):
        tls_of(Target(tls_ca=tmp_path / "nosuch.pem"))
    with pytest.raises(BenchProblem, match="--tls-ca"):
        Tls(tmp_path / "nosuch.pem").context()


def test_the_selector_waits_finer_than_a_millisecond():
    with PreciseSelector() as selector:
        waits_s = []
        for _ in range(50):
            began_s = time.monotonic()
            selector.select(0.0002)
            waits_s.append(time.monotonic() - began_s)
    # epoll alone never waits less than a millisecond.
    assert 0.0002 <= min(waits_s) < 0.001


@pytest.mark.skipif(
    needs.resource.getrlimit(needs.resource.RLIMIT_NOFILE)[0] <= FIRST_BEYOND_SELECT + 1,
    reason="this process may not have that many files",
)
def test_the_selector_stands_descriptors_that_select_does_not():
    """A pair of sockets whose numbers are beyond select's, in a loop of asyncio."""
    import fcntl

    async def heard(near: socket.socket, far: socket.socket) -> bytes:
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(near, b"word")
        return await loop.sock_recv(far, 8)

    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(PreciseSelector())) as run:
        one, other = socket.socketpair()
        with one, other:
            high = fcntl.fcntl(other.fileno(), fcntl.F_DUPFD, FIRST_BEYOND_SELECT)
            with socket.socket(fileno=high) as far:
                far.setblocking(False)
                one.setblocking(False)
                assert run.run(heard(one, far)) == b"word"
