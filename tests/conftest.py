"""With --no-skips, as in CI, a test that was skipped and is not optional fails the run."""

import signal

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--no-skips", action="store_true", help="fail where a test was skipped that isn't optional"
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("no_skips") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Skips())
    # A shell tells what it runs in the background to ignore Ctrl-C, and children inherit that.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


class Skips:
    """What was skipped, by whichever process ran it, and isn't optional."""

    def __init__(self) -> None:
        self._nodes: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped and "optional" not in report.keywords:
            self._nodes.append(report.nodeid)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self._nodes:
            print("\nskipped, and this machine could run them:", *self._nodes, sep="\n  ")
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
