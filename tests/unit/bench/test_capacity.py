"""How the capacity scenarios judge what they saw, on made-up rows."""

import numpy as np
import pytest

from rnnserve_bench.capacity.finding import Check
from rnnserve_bench.capacity.overload import KINDS, TIMES, WAVES, _finding, _peak, _waves
from rnnserve_bench.errors import BenchProblem
from rnnserve_bench.traffic.book import Book
from rnnserve_bench.traffic.crew import Outcome
from rnnserve_bench.traffic.rate import arrivals

PEAK, WAVE_S = 100.0, 10.0


def waves(kept: float, refused_s: float = 0.01, tired: float = 0.0) -> Outcome:
    """A server that does `kept` of its peak under load, `tired` less in each wave that follows."""
    book, done = Book(), 0.0
    for due_s in arrivals(_waves(PEAK, WAVE_S), None):
        wave = int(due_s // (1.5 * WAVE_S))
        in_wave = due_s % (1.5 * WAVE_S) >= WAVE_S / 2
        done += (kept - tired * wave) / TIMES if in_wave else 1.0
        if done >= 1.0:
            done -= 1.0
            book.add(due_s, due_s, due_s, due_s + 0.1, 64, "answered")
        else:
            book.add(due_s, due_s, due_s, due_s + refused_s, 64, "overloaded")
    rows = book.rows()
    return Outcome(rows, rows.due_s.max(), (0.1,))


def missed(outcome: Outcome, health_s: float = 0.02) -> list[str]:
    due_s = np.linspace(0, outcome.span_s, 50, endpoint=False)
    checks = np.column_stack((due_s, np.full(50, health_s)))
    before = [(-0.1, 0.5)]  # sessions are being opened
    finding = _finding(KINDS[0], PEAK, WAVE_S, outcome, np.vstack((before, checks)))
    return [check.what for check in finding.checks if not check.met]


def test_a_server_that_keeps_its_peak_and_refuses_at_once_misses_nothing():
    assert missed(waves(0.95)) == []


@pytest.mark.parametrize("outcome", [waves(0.8), waves(1.0, tired=0.1)])
def test_the_worst_wave_counts(outcome):
    assert missed(outcome) == ["good work in the worst wave / peak"]


def test_slow_refusals_and_slow_health_are_missed():
    assert missed(waves(0.95, refused_s=0.08)) == ["refusal p99"]
    assert missed(waves(0.95), health_s=0.2) == ["health max"]


def test_waves_send_three_times_the_peak_and_little_in_between():
    rate = _waves(PEAK, WAVE_S)
    assert [part.begin / PEAK for part in rate.stretches] == pytest.approx(
        [0.3, TIMES] * WAVES + [0.3]
    )


def test_a_peak_that_was_refused_is_no_peak():
    with pytest.raises(BenchProblem, match="overloaded"):
        _peak(waves(0.5).rows, 0, 10)


def test_a_figure_that_is_not_there_meets_no_limit():
    assert not Check("p99", float("nan"), 50, "ms").met
    assert not Check("good work", float("nan"), 0.9, "", at_most=False).met
