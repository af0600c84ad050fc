"""What rnnserve wants to reach, held against what was measured, round by round."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from rnnserve_bench.contest import Outcome
from rnnserve_bench.sample import Sample
from rnnserve_bench.scenarios import (
    AS_SERVED,
    BARE,
    ENGINE,
    FRAMES,
    OURS,
    RAW,
    TRITON,
    TRITON_CALLS,
    frame_name,
)

OWN_MESSAGE_US = 15.0
"""What our own code may add to a message on the bare wire and a run, many streams side by side."""
OWN_ROUND_TRIP_US = 80.0
"""The same on one stream, where nothing hides a wait."""
FRAME_STEPS_PER_S = 40_000.0
BLOCKS_TO_WAIT = 2.5
CARRY_FACTOR, CARRY_SPARE_BYTES = 1.5, 60e6


@dataclass(frozen=True)
class Verdict:
    """A target and, for every round, what was found and what it had to be."""

    scenario: str
    target: str
    unit: str
    found: tuple[float, ...]
    limit: tuple[float, ...]
    at_most: bool

    @property
    def ratios(self) -> list[float]:
        """Found by limit in each round: noise that both shared has gone."""
        return [found / limit for found, limit in zip(self.found, self.limit, strict=True)]

    @property
    def met(self) -> bool | None:
        """Whether the median round meets it; None where it wasn't measured."""
        if not self.found:
            return None
        ratio = median(self.ratios)
        return ratio <= 1 if self.at_most else ratio >= 1


Outcomes = dict[str, Outcome]
Pair = Callable[..., tuple[float, float]]


def verdicts(outcomes: Outcomes) -> list[Verdict]:
    """Every target whose scenario was run."""
    return [verdict for verdict in _all(outcomes) if verdict.scenario in outcomes]


def _all(outcomes: Outcomes) -> Iterator[Verdict]:
    yield _rate(outcomes, "engine", ENGINE, RAW, 0.85, "of the raw limit at batch 64")
    yield _rate(outcomes, "chunks64", OURS, RAW, 0.90, "of the raw limit at batch 64, block 64")
    for scenario in ("streams16", "streams64"):
        yield _judge(
            outcomes,
            scenario,
            f"bare wire + raw run + {OWN_MESSAGE_US:.0f} us, for each step",
            "us",
            (OURS, BARE, RAW),
            lambda ours, bare, raw: (ours.step_us, bare.step_us + raw.step_us + OWN_MESSAGE_US),
        )
        yield _triton(outcomes, scenario)
    yield _judge(
        outcomes,
        "stream1",
        f"p50: the bare wire's + a raw run + {OWN_ROUND_TRIP_US:.0f} us",
        "us",
        (OURS, BARE, RAW),
        lambda ours, bare, raw: (ours.p50_us, bare.p50_us + raw.p50_us + OWN_ROUND_TRIP_US),
    )
    yield from _frame_verdicts(outcomes)
    yield _rate(outcomes, "generate", OURS, RAW, 0.60, "of the raw limit at batch 64, tokens/s")
    yield _judge(
        outcomes,
        "beside",
        f"p99: {BLOCKS_TO_WAIT} raw runs of one block as served, batch 31",
        "us",
        (OURS, AS_SERVED),
        lambda ours, raw: (ours.p99_us, BLOCKS_TO_WAIT * raw.p50_us),
    )
    yield _judge(
        outcomes,
        "memory",
        "growth: 1.5 x the carries + 60 MB",
        "MB",
        (OURS,),
        lambda ours: (
            (ours.facts["full_bytes"] - ours.facts["empty_bytes"]) / 1e6,
            (CARRY_FACTOR * ours.facts["carries_bytes"] + CARRY_SPARE_BYTES) / 1e6,
        ),
    )


def _frame_verdicts(outcomes: Outcomes) -> Iterator[Verdict]:
    for shape in FRAMES:
        ours = frame_name(OURS, shape)
        name = f"({shape.in_flight} x {shape.rows} under way)"
        words = f"of the raw limit at batch 64 {name}"
        yield _rate(outcomes, "frames", ours, RAW, 0.60, words)
        yield _judge(
            outcomes,
            "frames",
            f"{FRAME_STEPS_PER_S:,.0f} steps/s {name}",
            "steps/s",
            (ours,),
            lambda found: (found.steps_per_s, FRAME_STEPS_PER_S),
            at_most=False,
        )


def _triton(outcomes: Outcomes, scenario: str) -> Verdict:
    """Against the better of the ways to drive Triton."""
    samples = outcomes[scenario].samples if scenario in outcomes else {}
    rivals = [name for name in (TRITON, TRITON_CALLS) if name in samples]

    def pair(ours: Sample, *triton: Sample) -> tuple[float, float]:
        return ours.steps_per_s, 1.5 * max(sample.steps_per_s for sample in triton)

    contestants = (OURS, *rivals) if rivals else (OURS, TRITON)
    target = "1.5 x Triton's Python backend"
    return _judge(outcomes, scenario, target, "steps/s", contestants, pair, at_most=False)


def _rate(
    outcomes: Outcomes, scenario: str, name: str, raw: str, share: float, words: str
) -> Verdict:
    return _judge(
        outcomes,
        scenario,
        f"{share:.0%} {words}",
        "steps/s",
        (name, raw),
        lambda ours, limit: (ours.steps_per_s, share * limit.steps_per_s),
        at_most=False,
    )


def _judge(
    outcomes: Outcomes,
    scenario: str,
    target: str,
    unit: str,
    contestants: Sequence[str],
    pair: Pair,
    *,
    at_most: bool = True,
) -> Verdict:
    rounds = outcomes[scenario].rounds(*contestants) if scenario in outcomes else []
    pairs = [pair(*samples) for samples in rounds]
    found, limit = (tuple(p[side] for p in pairs) for side in (0, 1))
    return Verdict(scenario, target, unit, found, limit, at_most)
