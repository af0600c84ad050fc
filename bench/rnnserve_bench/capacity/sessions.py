"""Very many sessions that step seldom: each on a stream of its own, one step a second."""

from rnnserve_bench.capacity.finding import Check, Finding
from rnnserve_bench.cores import tree_cpu_s
from rnnserve_bench.models import MAIN
from rnnserve_bench.rig import Rig
from rnnserve_bench.traffic.crew import run_load
from rnnserve_bench.traffic.plan import Plan
from rnnserve_bench.traffic.rate import Rate
from rnnserve_bench.traffic.summary import summarise

P99_MS = 50.0
WARM_S = 2.0


def many_sessions(rig: Rig, sessions: int, seconds: float) -> Finding:
    """A step a second of each, spread evenly over the second."""
    server = rig.fresh_server(MAIN, "--max-sessions", str(2 * sessions))
    try:
        duration_s = WARM_S + seconds
        plan = Plan(
            target=server.target,
            model=MAIN.name,
            sessions=sessions,
            streams=sessions,
            rate=Rate.steady(sessions, duration_s),
            poisson=False,
            duration_s=duration_s,
            warm_s=WARM_S,
        )
        cpu_s = tree_cpu_s(server.pids)
        outcome = run_load(plan, core=rig.cores.client)
        cpu_s = tree_cpu_s(server.pids) - cpu_s
    finally:
        server.stop_politely()
    summary = summarise(outcome.rows, WARM_S, outcome.span_s, outcome.busy)
    latency = summary.latency_ms
    figures = {
        "steps answered": summary.answered,
        "p50 (ms)": latency.p50 if latency else float("nan"),
        "p99.9 (ms)": latency.p999 if latency else float("nan"),
        "max (ms)": latency.most if latency else float("nan"),
        "generator late, p99 (ms)": summary.late_ms.p99 if summary.late_ms else float("nan"),
        "CPU of the server (us a step)": cpu_s / max(len(outcome.rows), 1) * 1e6,
    }
    return Finding(
        "sessions",
        f"{sessions:,} sessions at one step a second for {seconds:g} s",
        f"{MAIN.title}; each session on a stream of its own, all on one connection; steps are due "
        "evenly spread over the second, and a latency counts from when its step was due.",
        (
            Check("p99", latency.p99 if latency else float("inf"), P99_MS, "ms"),
            Check("not answered", summary.failed, 0, "steps"),
        ),
        figures,
        tuple(summary.warnings),
    )
