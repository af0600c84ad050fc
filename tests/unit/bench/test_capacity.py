"""How the capacity scenarios judge what they saw, on made-up rows."""

import numpy as np
import pytest

from rnnserve_bench.capacity.finding import Check
from rnnserve_bench.capacity.overload import KINDS, TIMES, Wave, _finding, _peak, _rate
from rnnserve_bench.errors import BenchProblem
from rnnserve_bench.traffic.book import Book
from rnnserve_bench.traffic.crew import Outcome
from rnnserve_bench.traffic.rate import arrivals

PEAK, WAVE_S = 100.0, 10.0


def wave(kept: float, refused_s: float = 0.01, health_s: float = 0.02, speed: float = 1.0) -> Wave:
    """A server that does `kept` of its peak under load, on a machine of this speed just then."""
    book, done, peak = Book(), 0.0, speed * PEAK
    for due_s in arrivals(_rate(peak, WAVE_S), None):
        in_wave = WAVE_S / 2 <= due_s < 1.5 * WAVE_S
        done += kept / TIMES if in_wave else 1.0
        if done >= 1.0:
            done -= 1.0
            book.add(due_s, due_s, due_s, due_s + 0.1, 64, "answered")
        else:
            book.add(due_s, due_s, due_s, due_s + refused_s, 64, "overloaded")
    rows = book.rows()
    outcome = Outcome(rows, rows.due_s.max(), (0.1,))
    due_s = np.linspace(0, outcome.span_s, 50, endpoint=False)
    checks = np.column_stack((due_s, np.full(50, health_s)))
    before = [(-0.1, 0.5)]  # sessions are being opened
    return Wave(peak, outcome, np.vstack((before, checks)))


def missed(*waves: Wave) -> list[str]:
    finding = _finding(KINDS[0], WAVE_S, waves)
    return [check.what for check in finding.checks if not check.met]


def test_a_server_that_keeps_its_peak_and_refuses_at_once_misses_nothing():
    assert missed(wave(0.95), wave(0.95), wave(0.92)) == []


def test_the_worst_wave_counts():
    assert missed(wave(1.0), wave(1.0), wave(0.8)) == ["good work in the worst wave / peak"]


def test_each_wave_is_held_against_the_peak_before_it():
    assert missed(wave(0.95), wave(0.95, speed=0.7), wave(0.95, speed=1.2)) == []


def test_slow_refusals_and_slow_health_are_missed():
    assert missed(wave(0.95), wave(0.95, refused_s=0.08)) == ["refusal p99"]
    assert missed(wave(0.95), wave(0.95, health_s=0.2)) == ["health max"]


def test_a_wave_is_three_times_the_peak_with_little_before_and_after():
    rate = _rate(PEAK, WAVE_S)
    assert [part.begin / PEAK for part in rate.stretches] == pytest.approx([0.3, TIMES, 0.3])


def test_a_peak_that_was_refused_is_no_peak():
    with pytest.raises(BenchProblem, match="overloaded"):
        _peak(wave(0.5).outcome.rows, 0, 10)


def test_a_figure_that_is_not_there_meets_no_limit():
    assert not Check("p99", float("nan"), 50, "ms").met
    assert not Check("good work", float("nan"), 0.9, "", at_most=False).met
