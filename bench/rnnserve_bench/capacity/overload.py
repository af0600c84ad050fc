"""Three times as much as a server can carry, three times over, with rests in between."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from rnnserve_bench.capacity.finding import Check, Finding
from rnnserve_bench.capacity.health import HealthProber
from rnnserve_bench.errors import BenchProblem
from rnnserve_bench.models import MAIN
from rnnserve_bench.rig import Rig
from rnnserve_bench.traffic.book import ANSWERED, Rows
from rnnserve_bench.traffic.crew import Outcome, run_load
from rnnserve_bench.traffic.draws import Lengths
from rnnserve_bench.traffic.plan import Plan
from rnnserve_bench.traffic.rate import Rate, Stretch

WAVES, TIMES = 3, 3.0
REST_SHARE = 0.3
"""Of the peak, between two waves."""
SETTLED_S = 0.5
"""At a wave's beginning, while the queue fills."""
KEPT_SHARE = 0.9
REFUSED_MS, HEALTH_MS = 50.0, 100.0
WAITING_BATCHES = 6
"""What the server lets wait, in batches of 64 rows: at 40,000 steps a second, a few tenths of a
second of work."""
ROWS = 64


@dataclass(frozen=True)
class Traffic:
    """What the clients send."""

    name: str
    title: str
    frame: int
    chunk_steps: int
    sessions: int
    """Enough that an arrival finds one free, with all that waits at the server."""
    saturating: int
    """Sessions of the closed loop that finds the peak: fewer than the server lets wait."""


KINDS = (
    Traffic("frames", "frames of 64 sessions, chunks of 16 steps", 64, 16, 2048, 256),
    Traffic("chunks", "a message for each chunk of 64 steps", 1, 64, 512, 128),
)


@dataclass(frozen=True)
class Wave:
    """One wave, and what the server could do right before it."""

    peak: float
    """Chunks a second."""
    outcome: Outcome
    health: np.ndarray
    """Of each check, when it was due and how long it took (N, 2), in seconds."""

    def kept(self, wave_s: float) -> float:
        """Good work in the wave, as a share of the peak."""
        begin_s, end_s = wave_s / 2 + SETTLED_S, 1.5 * wave_s
        return _done_a_second(self.outcome.rows, begin_s, end_s) / self.peak

    def checks_s(self, *, loaded: bool) -> np.ndarray:
        """How long those took that were due while the load ran, or before and after it."""
        due_s = self.health[:, 0] - self.outcome.start_s
        is_loaded = (due_s >= 0) & (due_s < self.outcome.span_s)
        found: np.ndarray = self.health[is_loaded if loaded else ~is_loaded, 1]
        return found


def overload(rig: Rig, kind: Traffic, wave_s: float) -> Finding:
    """Three times, on one server: find the peak in a closed loop; then the wave in an open one,
    health asked all the while. A machine's speed changes in a minute by as much as is judged."""
    options = ("--max-sessions", "8192", "--max-waiting-steps", str(_waiting_steps(kind)))
    server = rig.fresh_server(MAIN, *options)
    try:
        waves = [_wave(server.target, rig.cores.client, kind, wave_s) for _ in range(WAVES)]
    finally:
        server.stop_politely()
    return _finding(kind, wave_s, waves)


def _wave(target: str, core: int, kind: Traffic, wave_s: float) -> Wave:
    plan = Plan(
        target=target,
        model=MAIN.name,
        sessions=kind.saturating,
        streams=kind.saturating // kind.frame,
        frame=kind.frame,
        lengths=Lengths((kind.chunk_steps,)),
        duration_s=1.0 + wave_s,
        warm_s=1.0,
    )
    peak = _peak(run_load(plan, core=core).rows, 1.0, 1.0 + wave_s)
    rate = _rate(peak, wave_s)
    more = replace(
        plan,
        sessions=kind.sessions,
        streams=kind.sessions // kind.frame,
        rate=rate,
        duration_s=rate.duration_s,
        warm_s=0.0,
    )
    with HealthProber(target, core) as health:
        outcome = run_load(more, core=core)
    return Wave(peak, outcome, health.checks)


def _peak(rows: Rows, begin_s: float, end_s: float) -> float:
    """Chunks a second of a load that was never refused. Raises BenchProblem where it was."""
    if len(rows.of(ANSWERED)) < len(rows):
        raise BenchProblem(f"the peak's load was not all answered: {', '.join(rows.outcomes)}")
    return _done_a_second(rows, begin_s, end_s)


def _rate(peak: float, wave_s: float) -> Rate:
    """Rest, wave, rest."""
    rest = Stretch(wave_s / 2, REST_SHARE * peak, REST_SHARE * peak)
    return Rate((rest, Stretch(wave_s, TIMES * peak, TIMES * peak), rest))


def _waiting_steps(kind: Traffic) -> int:
    return WAITING_BATCHES * ROWS * kind.chunk_steps


def _finding(kind: Traffic, wave_s: float, waves: Sequence[Wave]) -> Finding:
    rows = Rows.joined([wave.outcome.rows for wave in waves])
    kept = [wave.kept(wave_s) for wave in waves]
    answers = rows.with_answer()
    refused_ms = answers.but(ANSWERED).latency_s * 1e3
    health_ms = np.concatenate([wave.checks_s(loaded=True) for wave in waves]) * 1e3
    coming_ms = np.concatenate([wave.checks_s(loaded=False) for wave in waves]) * 1e3
    after = rows.between(1.5 * wave_s + SETTLED_S, np.inf)
    figures = {
        **{f"wave {place}: peak (chunks/s)": wave.peak for place, wave in enumerate(waves, 1)},
        **{f"wave {place}: good work / peak": share for place, share in enumerate(kept, 1)},
        "refused (chunks)": float(len(refused_ms)),
        "refusal p50 (ms)": _percentile(refused_ms, 50),
        "refusal max (ms)": _percentile(refused_ms, 100),
        "good work p99 (ms)": _percentile(rows.of(ANSWERED).latency_s * 1e3, 99),
        "health checks": float(len(health_ms)),
        "health p50 (ms)": _percentile(health_ms, 50),
        "health p99 (ms)": _percentile(health_ms, 99),
        f"health max, while {kind.sessions} sessions open or close (ms)": _percentile(
            coming_ms, 100
        ),
        "refused after a wave": float(len(after.but(ANSWERED))),
        "neither answered nor refused": float(len(rows) - len(answers)),
        "generator late, p99 (ms)": _percentile((rows.taken_s - rows.due_s) * 1e3, 99),
    }
    return Finding(
        f"overload-{kind.name}",
        f"Three times the peak in three waves: {kind.title}",
        f"{MAIN.title}; --max-waiting-steps {_waiting_steps(kind)}. Before each wave its peak is "
        f"found, in a closed loop of {wave_s:g} s. Waves of {wave_s:g} s, Poisson arrivals, at "
        f"{REST_SHARE:g} of the peak before and after; good work counts {SETTLED_S:g} s into each "
        "wave. Latencies count from when a chunk was due, the generator's own lateness among them.",
        (
            Check("good work in the worst wave / peak", min(kept), KEPT_SHARE, "", at_most=False),
            Check("refusal p99", _percentile(refused_ms, 99), REFUSED_MS, "ms"),
            Check("health max", _percentile(health_ms, 100), HEALTH_MS, "ms"),
        ),
        figures,
    )


def _done_a_second(rows: Rows, begin_s: float, end_s: float) -> float:
    """Chunks answered well between two moments, a second."""
    done_s = rows.of(ANSWERED).done_s
    return float(((done_s >= begin_s) & (done_s < end_s)).sum()) / (end_s - begin_s)


def _percentile(values: np.ndarray, q: float) -> float:
    return float(np.percentile(values, q)) if len(values) else 0.0
