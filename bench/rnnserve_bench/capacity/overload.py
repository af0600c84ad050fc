"""Three times as much as a server can carry, three times over, with rests in between."""

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


def overload(rig: Rig, kind: Traffic, wave_s: float) -> Finding:
    """Find the peak in a closed loop; then the waves in an open one, health asked all the while."""
    waiting = WAITING_BATCHES * ROWS * kind.chunk_steps
    options = ("--max-sessions", "8192", "--max-waiting-steps", str(waiting))
    server = rig.fresh_server(MAIN, *options)
    core = rig.cores.client
    try:
        plan = Plan(
            target=server.target,
            model=MAIN.name,
            sessions=kind.saturating,
            streams=kind.saturating // kind.frame,
            frame=kind.frame,
            lengths=Lengths((kind.chunk_steps,)),
            duration_s=1.0 + wave_s,
            warm_s=1.0,
        )
        peak = _peak(run_load(plan, core=core).rows, 1.0, 1.0 + wave_s)
        rate = _waves(peak, wave_s)
        more = replace(
            plan,
            sessions=kind.sessions,
            streams=kind.sessions // kind.frame,
            rate=rate,
            duration_s=rate.duration_s,
            warm_s=0.0,
        )
        with HealthProber(server.target, core) as health:
            outcome = run_load(more, core=core)
    finally:
        server.stop_politely()
    return _finding(kind, peak, wave_s, outcome, health.checks)


def _peak(rows: Rows, begin_s: float, end_s: float) -> float:
    """Chunks a second of a load that was never refused. Raises BenchProblem where it was."""
    if len(rows.of(ANSWERED)) < len(rows):
        raise BenchProblem(f"the peak's load was not all answered: {', '.join(rows.outcomes)}")
    return _done_a_second(rows, begin_s, end_s)


def _waves(peak: float, wave_s: float) -> Rate:
    """Rest, wave, rest, wave, rest, wave, rest."""
    rest = Stretch(wave_s / 2, REST_SHARE * peak, REST_SHARE * peak)
    wave = Stretch(wave_s, TIMES * peak, TIMES * peak)
    return Rate((*(rest, wave) * WAVES, rest))


def _finding(
    kind: Traffic, peak: float, wave_s: float, outcome: Outcome, health: np.ndarray
) -> Finding:
    """`health`: of each check, when it was due and how long it took (N, 2), in seconds."""
    rows = outcome.rows
    begins = [wave_s / 2 + place * 1.5 * wave_s for place in range(WAVES)]
    kept = [_done_a_second(rows, begin + SETTLED_S, begin + wave_s) / peak for begin in begins]
    answers = rows.with_answer()
    no = answers.outcome != answers.outcomes.index(ANSWERED)
    refused_ms = answers.latency_s[no] * 1e3
    late_ms = (rows.taken_s - rows.due_s) * 1e3
    good_ms = rows.of(ANSWERED).latency_s * 1e3
    due_s = health[:, 0] - outcome.start_s
    loaded = (due_s >= 0) & (due_s < outcome.span_s)
    health_ms, coming_ms = health[loaded, 1] * 1e3, health[~loaded, 1] * 1e3
    after = rows.between(begins[-1] + wave_s + SETTLED_S, np.inf)
    figures = {
        "peak (chunks/s)": peak,
        **{f"wave {place + 1}: good work / peak": share for place, share in enumerate(kept)},
        "refused (chunks)": float(no.sum()),
        "refusal p50 (ms)": _percentile(refused_ms, 50),
        "refusal max (ms)": _percentile(refused_ms, 100),
        "good work p99 (ms)": _percentile(good_ms, 99),
        "health checks": float(len(health_ms)),
        "health p50 (ms)": _percentile(health_ms, 50),
        "health p99 (ms)": _percentile(health_ms, 99),
        f"health max, while {kind.sessions} sessions open or close (ms)": _percentile(
            coming_ms, 100
        ),
        "refused after the last wave": float(len(after) - len(after.of(ANSWERED))),
        "neither answered nor refused": float(len(rows) - len(answers)),
        "generator late, p99 (ms)": _percentile(late_ms, 99),
    }
    waiting = WAITING_BATCHES * ROWS * kind.chunk_steps
    return Finding(
        f"overload-{kind.name}",
        f"Three times the peak in three waves: {kind.title}",
        f"{MAIN.title}; --max-waiting-steps {waiting}. The peak is that of a closed loop. Waves of "
        f"{wave_s:g} s, Poisson arrivals, at {REST_SHARE:g} of the peak in between; good work "
        f"counts {SETTLED_S:g} s into each wave. Latencies count from when a chunk was due, the "
        "generator's own lateness among them.",
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
