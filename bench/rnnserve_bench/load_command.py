"""`rnnserve bench`."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter
from cyclopts.validators import Number
from rich.console import Console

from rnnserve.commands.target import LOCAL, Target
from rnnserve_bench import machine
from rnnserve_bench.errors import BenchProblem
from rnnserve_bench.tls import Tls
from rnnserve_bench.traffic.crew import Outcome, run_load
from rnnserve_bench.traffic.draws import Lengths, Think, ThinkLaw
from rnnserve_bench.traffic.needs import check_connections, check_file, check_picture, writing
from rnnserve_bench.traffic.plan import Plan
from rnnserve_bench.traffic.rate import Rate
from rnnserve_bench.traffic.screen import progress, show
from rnnserve_bench.traffic.summary import Summary, series, summarise

Count = Annotated[int, Parameter(validator=Number(gte=1))]
Seconds = Annotated[float, Parameter(validator=Number(gte=0))]
Duration = Annotated[float, Parameter(validator=Number(gt=0))]
Limit = Annotated[float | None, Parameter(validator=Number(gte=0))]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class LoadOptions:
    """Who sends what, and when."""

    rate: str | None = None
    """Chunks a second, in all: open loop. `500`; `100..900`, a ramp; `100,200,400`, steps of equal
    length. Not given: closed loop, in which a session sends when it has its answer."""
    arrivals: Literal["poisson", "regular"] = "poisson"
    """How they come: as from many independent users, or evenly."""
    sessions: Count = 64
    """Sessions that are open."""
    chunk: str = "1"
    """Steps in a message: `64`; `1,1,1,64`, one of these by chance; `1..16`."""
    frame: Count = 1
    """Sessions whose chunks travel in one message, as a gateway sends them."""
    streams: Count | None = None
    """Streams that carry the sessions; unless given, one for each session, at most 256 or as many
    as connections."""
    connections: Count = 1
    """Connections that carry the streams, of each worker at least one."""
    think_ms: Seconds = 0.0
    """Closed loop: mean time between an answer and the next chunk."""
    think: ThinkLaw = "exponential"
    """How that time varies."""
    ramp_s: Seconds = 0.0
    """Seconds in which the rate goes from its first to its second value, or, in a closed loop, the
    sessions begin."""
    duration_s: Duration = 10.0
    """How long, the warm-up included."""
    warm_s: Seconds = 1.0
    """Seconds at the beginning that are not counted."""
    settle_s: Seconds = 5.0
    """Seconds to wait at the end for answers that are still out."""
    timeout_ms: Seconds = 0.0
    """What each step tells the server it has time for: it refuses what can't be in time. 0: no
    limit."""
    free_size: Count = 8
    """Size of dimensions that each step may choose, where a model has some."""
    seed: Annotated[int, Parameter(validator=Number(gte=0))] = 0
    """The same seed makes the same load."""
    workers: Count = 1
    """Processes that make the load."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Verdicts:
    """What is written down, and what is asked of the result."""

    json: Path | None = None
    """File for all figures."""
    png: Path | None = None
    """File for a picture: latency over time and its distribution. Needs matplotlib."""
    max_p99_ms: Limit = None
    """Exit status 1 where the p99 is higher."""
    max_error_share: Limit = None
    """Exit status 1 where a larger share of the chunks wasn't answered; 0.001 is one of 1,000."""

    @property
    def asked(self) -> bool:
        """Whether anything was."""
        return self.max_p99_ms is not None or self.max_error_share is not None


LOAD, VERDICTS = LoadOptions(), Verdicts()
MOST_STREAMS = 256


def bench(
    model: str,
    /,
    *,
    load: LoadOptions = LOAD,
    verdicts: Verdicts = VERDICTS,
    server: Target = LOCAL,
) -> None:
    """Put a running server under load, and measure it.

    Sessions are opened and stepped with made-up inputs that fit what the server says about the
    model. Every answer's index and size are checked.

    With --rate the loop is open: chunks are due by the clock, however slow the server is, and a
    latency counts from when its chunk was due. So a stall shows in every chunk that it kept
    waiting, and not in one alone. A session has one chunk under way, as its next one depends on
    the answer: give it more sessions than chunks will be under way. Without --rate the loop is
    closed, and shows the most that so many sessions get through.

    The load runs in processes of its own, and the table says how late they were themselves. Ctrl-C
    ends it early, with all figures until then.

    Exit status 1 where a limit was missed, and where streams had ended for good before the time was
    over, with a limit or without. A load in which nothing was due, or nothing was answered, is
    within no limit.

    Parameters
    ----------
    model: str
        Name of a model that the server has.
    """
    check_file("--json", verdicts.json)
    check_picture("--png", verdicts.png)
    plan = plan_of(load, model, server)
    check_connections(-(-plan.connections // load.workers))
    console = Console(stderr=True, highlight=False)
    with progress(console, plan) as listen:
        outcome = run_load(plan, workers=load.workers, listen=listen)
    summary = summarise(
        outcome.rows,
        min(plan.warm_s, outcome.span_s),
        outcome.span_s,
        outcome.busy,
        outcome.lost_streams,
    )
    show(Console(highlight=False), summary)
    keep(plan, load, outcome, summary, verdicts)
    judge(summary, verdicts)
    if outcome.span_s < plan.duration_s:
        print("rnnserve: ended early", file=sys.stderr)
        raise KeyboardInterrupt


def plan_of(load: LoadOptions, model: str, server: Target) -> Plan:
    """Raises BenchProblem or OperatorError for options that don't fit together."""
    groups = load.sessions // load.frame
    if load.workers > groups:
        raise BenchProblem(
            f"--workers {load.workers}: there are {groups} messages under way at most"
        )
    if load.rate is not None and load.think_ms:
        raise BenchProblem("--think-ms is of a closed loop: with --rate, the clock says when")
    rate = None
    if load.rate is not None:
        rate = Rate.parse(load.rate, load.duration_s, load.ramp_s)
    return Plan(
        target=server.target,
        model=model,
        tls=tls_of(server),
        sessions=load.sessions,
        streams=min(load.streams or max(MOST_STREAMS, load.connections), groups),
        connections=load.connections,
        frame=load.frame,
        lengths=Lengths.parse(load.chunk),
        rate=rate,
        poisson=load.arrivals == "poisson",
        think=Think(load.think_ms / 1e3, load.think),
        ramp_s=load.ramp_s,
        duration_s=load.duration_s,
        warm_s=load.warm_s,
        settle_s=load.settle_s,
        timeout_s=load.timeout_ms / 1e3,
        free_size=load.free_size,
        seed=load.seed,
    )


def tls_of(server: Target) -> Tls | None:
    """None: plaintext. Raises BenchProblem or OperatorError where the files don't do."""
    if server.credentials is None:
        return None
    assert server.tls_ca is not None
    tls = Tls(server.tls_ca, server.tls_client_certificate, server.tls_client_key)
    tls.context()
    return tls


def keep(
    plan: Plan, load: LoadOptions, outcome: Outcome, summary: Summary, verdicts: Verdicts
) -> None:
    """Write the files that were asked for."""
    if verdicts.json is None and verdicts.png is None:
        return
    by_time = series(outcome.rows, outcome.span_s)
    if verdicts.json is not None:
        data: dict[str, Any] = {
            "model": plan.model,
            "load": {name: getattr(load, name) for name in load.__dataclass_fields__},
            "machine": machine.machine(),
            "versions": machine.versions(),
            "summary": summary.as_dict(),
            "series": by_time.as_dict(),
        }
        with writing("--json", verdicts.json):
            verdicts.json.write_text(json.dumps(data, indent=1, allow_nan=False) + "\n")
    if verdicts.png is not None:
        # matplotlib takes a second to load, and isn't everywhere.
        from rnnserve_bench.traffic.figure import draw

        with writing("--png", verdicts.png):
            draw(title_of(plan), outcome.rows, summary, by_time, plan.warm_s, verdicts.png)


def title_of(plan: Plan) -> str:
    """What the load was, in a line."""
    chunk = "/".join(map(str, sorted(set(plan.lengths.choices))))
    kind = "open loop" if plan.is_open else "closed loop"
    frames = f", frames of {plan.frame}" if plan.frame > 1 else ""
    return f"{plan.model}: {plan.sessions} sessions, {kind}, chunks of {chunk}{frames}"


def judge(summary: Summary, verdicts: Verdicts) -> None:
    """Raises BenchProblem where the result isn't as good as was asked, or the server was gone."""
    missed = []
    if summary.lost_streams:
        missed.append(
            f"{summary.lost_streams:,} streams ended before the time was over and weren't got back"
        )
    if verdicts.asked and not summary.answered:
        missed.append("nothing was answered" if summary.due else "nothing was due")
    p99_ms = summary.latency_ms.p99 if summary.latency_ms else float("inf")
    if verdicts.max_p99_ms is not None and summary.answered and not p99_ms <= verdicts.max_p99_ms:
        missed.append(f"p99 is {p99_ms:.1f} ms, at most {verdicts.max_p99_ms:g} were asked for")
    share = summary.error_share
    if verdicts.max_error_share is not None and share > verdicts.max_error_share:
        missed.append(
            f"{share:.3%} weren't answered, at most {verdicts.max_error_share:.3%} were allowed"
        )
    if missed:
        raise BenchProblem("; ".join(missed))
