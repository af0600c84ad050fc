"""A load's figures: what was counted, how long things took, and how both went over time."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from rnnserve.errors import Reason
from rnnserve_bench.traffic.book import ANSWERED, NOT_SENT, Floats, Rows

PERCENTILES = (50.0, 90.0, 99.0, 99.9, 100.0)
MOST_POINTS = 240
LATE_P99_MS = 5.0
"""Beyond this the generator's own lateness shows in the figures."""
SATURATED = 0.9
"""A worker busy for more than this share of a core makes no more load."""
SILENCE_S = 1.0
"""From here on, a time in which something waited and nothing was answered is a silence."""


@dataclass(frozen=True)
class Spread:
    """Of times, in milliseconds."""

    p50: float
    p90: float
    p99: float
    p999: float
    most: float

    @classmethod
    def of(cls, times_s: Floats) -> "Spread | None":
        """None where nothing was timed."""
        if not len(times_s):
            return None
        return cls(*map(float, np.percentile(times_s * 1e3, PERCENTILES)))


@dataclass(frozen=True)
class Series:
    """The same by time, one entry a slice; a figure is NaN where a slice has nothing."""

    slice_s: float
    end_s: tuple[float, ...]
    p50_ms: tuple[float, ...]
    p99_ms: tuple[float, ...]
    most_ms: tuple[float, ...]
    due: tuple[float, ...]
    """A second, as all that follow."""
    answered: tuple[float, ...]
    failed: tuple[float, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON, which has no NaN."""
        return {
            name: [None if np.isnan(v) else v for v in value] if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
        }


@dataclass(frozen=True)
class Summary:
    """Of the chunks that were due after the warm-up."""

    seconds: float
    due: int
    answered: int
    reasons: dict[str, int]
    """How many of the others ended how."""
    offered_chunks_s: float
    """Due, a second."""
    answered_chunks_s: float
    """Answers that came in this time, a second."""
    answered_steps_s: float
    latency_ms: Spread | None
    """From when a chunk should have been sent to its answer."""
    late_ms: Spread | None
    """Of that, until the generator got round to it: its own fault."""
    waited_ms: Spread | None
    """Of that, until a session was free: each has one chunk under way at most."""
    served_ms: Spread | None
    """Of that, from sent to answered."""
    refused_ms: Spread | None
    """From due to the answer that says no."""
    waited_share: float
    """Chunks that found no session free."""
    busiest: float
    """The share of a core that the busiest worker took."""
    silent_s: float = 0.0
    """Seconds in which something waited and nothing was answered, of silences of a second or more.
    """
    lost_streams: int = 0
    """That had ended, and weren't back, when the time was over."""

    @property
    def failed(self) -> int:
        return sum(self.reasons.values())

    @property
    def error_share(self) -> float:
        return self.failed / self.due if self.due else 0.0

    @property
    def warnings(self) -> list[str]:
        """What makes the figures doubtful."""
        return [*self._of_the_server, *self._of_the_generator]

    @property
    def _of_the_server(self) -> list[str]:
        found = []
        if not self.due:
            found.append(
                "Nothing was due after the warm-up: the generator got no further, as the rate is "
                "beyond it, or the rate is too low for the time."
            )
        if self.lost_streams:
            found.append(
                f"{self.lost_streams:,} streams had ended and weren't got back when the time was "
                "over: the rates are of the whole time, and the server wasn't there for all of it."
            )
        if self.silent_s:
            found.append(
                f"For {self.silent_s:.1f} of {self.seconds:.1f} s, nothing was answered while "
                "chunks waited."
            )
        if expired := self.reasons.get(Reason.SESSION_EXPIRED):
            found.append(
                f"{expired:,} chunks came too late for their session: it had been still for longer "
                "than the server's --idle-timeout-s. A session sends every sessions / rate "
                "seconds: raise --rate, or take fewer --sessions."
            )
        return found

    @property
    def _of_the_generator(self) -> list[str]:
        found = []
        if self.late_ms is not None and self.late_ms.p99 > LATE_P99_MS:
            found.append(
                f"The generator itself was late: by {self.late_ms.p99:.1f} ms at its p99. The "
                "latencies have that in them; give it a core of its own, or --workers."
            )
        if self.busiest > SATURATED:
            found.append(
                f"The generator was busy for {self.busiest:.0%} of a core: it may have been the "
                "limit, not the server. Try --workers or --frame."
            )
        if self.reasons.get(NOT_SENT):
            found.append(
                f"{self.reasons[NOT_SENT]:,} chunks were never sent: no session was free. The rate "
                "is beyond what these sessions can carry, or beyond the server."
            )
        return found

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {**asdict(self), "error_share": self.error_share, "warnings": self.warnings}


def summarise(
    rows: Rows,
    begin_s: float,
    end_s: float,
    busy: tuple[float, ...],
    lost_streams: int = 0,
) -> Summary:
    """Of what was due from `begin_s` to `end_s`."""
    seconds = max(end_s - begin_s, 1e-9)
    due = rows.between(begin_s, end_s)
    answered = due.of(ANSWERED)
    came = rows.of(ANSWERED)
    came_now = (came.done_s >= begin_s) & (came.done_s < end_s)
    reasons = {name: len(due.of(name)) for name in due.outcomes if name != ANSWERED}
    answers = due.with_answer()
    refused_s = answers.latency_s[answers.outcome != answers.outcomes.index(ANSWERED)]
    # Within the same turn of the loop, a session counts as free at once.
    waited = due.sent_s - due.taken_s > 1e-3
    return Summary(
        seconds=seconds,
        due=len(due),
        answered=len(answered),
        reasons={name: count for name, count in reasons.items() if count},
        offered_chunks_s=len(due) / seconds,
        answered_chunks_s=int(came_now.sum()) / seconds,
        answered_steps_s=int(came.steps[came_now].sum()) / seconds,
        latency_ms=Spread.of(answered.latency_s),
        late_ms=Spread.of(due.taken_s - due.due_s),
        waited_ms=Spread.of(answers.sent_s - answers.taken_s),
        served_ms=Spread.of(answered.done_s - answered.sent_s),
        refused_ms=Spread.of(refused_s),
        waited_share=float((waited | np.isnan(due.sent_s)).mean()) if len(due) else 0.0,
        busiest=max(busy, default=0.0),
        silent_s=_silent_s(rows, begin_s, end_s),
        lost_streams=lost_streams,
    )


def _silent_s(rows: Rows, begin_s: float, end_s: float) -> float:
    """Silences between answers, each from when something waited."""
    came_s = np.sort(rows.done_s[(rows.done_s > begin_s) & (rows.done_s < end_s)])
    edges_s = np.concatenate([[begin_s], came_s, [end_s]])
    total_s = 0.0
    for place in np.flatnonzero(np.diff(edges_s) >= SILENCE_S):
        last_s, next_s = edges_s[place], edges_s[place + 1]
        waiting = (rows.due_s < next_s) & ~(rows.done_s <= last_s)
        since_s = max(last_s, rows.due_s[waiting].min(initial=next_s))
        if next_s - since_s >= SILENCE_S:
            total_s += float(next_s - since_s)
    return total_s


def series(rows: Rows, span_s: float) -> Series:
    """By the time at which chunks were due; whole seconds, or more where there are many."""
    slice_s = max(1.0, float(np.ceil(span_s / MOST_POINTS))) if span_s > 5 else span_s / 20
    count = max(1, int(np.ceil(span_s / slice_s - 1e-9)))
    edges = np.arange(1, count + 1) * slice_s
    answered = rows.of(ANSWERED)
    place = np.minimum((answered.due_s / slice_s).astype(int), count - 1)
    order = np.argsort(place, kind="stable")
    latency_ms = answered.latency_s[order] * 1e3
    cuts = np.searchsorted(place[order], np.arange(1, count))
    found = [
        np.percentile(part, (50, 99, 100)) if len(part) else np.full(3, np.nan)
        for part in np.split(latency_ms, cuts)
    ]
    p50_ms, p99_ms, most_ms = (tuple(map(float, column)) for column in zip(*found, strict=True))
    failed_s = rows.due_s[rows.outcome != rows.outcomes.index(ANSWERED)]
    return Series(
        slice_s,
        tuple(map(float, edges)),
        p50_ms,
        p99_ms,
        most_ms,
        due=_a_second(rows.due_s, slice_s, count),
        answered=_a_second(answered.done_s, slice_s, count),
        failed=_a_second(failed_s, slice_s, count),
    )


def _a_second(moments_s: Floats, slice_s: float, count: int) -> tuple[float, ...]:
    counts, _ = np.histogram(moments_s, np.arange(count + 1) * slice_s)
    return tuple(map(float, counts / slice_s))
