"""RESULTS.md: what was measured, how, and how it stands against the targets."""

import math
from pathlib import Path
from statistics import median

from rnnserve_bench import figures
from rnnserve_bench.contest import Outcome
from rnnserve_bench.models import MAIN, PUBLISHED, TABLE
from rnnserve_bench.others import CRASHES
from rnnserve_bench.results import Results
from rnnserve_bench.scenarios import (
    CURVE_ROWS,
    OURS,
    RAW,
    TORCH,
    curve_name,
)
from rnnserve_bench.tables import Table, number, scenario_table, with_spread
from rnnserve_bench.targets import Verdict, verdicts
from rnnserve_bench.words import ABOUT, HOW_TO_READ, NOTES, SHAPES, TRITON_NOTE

REPORT = "RESULTS.md"
PROFILES, OTHERS = "profile-*.md", ("capacity.md", "soak.md")
"""What other commands have left to be told here."""
FULL_LOAD = 0.95
"""From this share on, the load's core counts as saturated."""


def write(results: Results, folder: Path) -> None:
    """RESULTS.md, results.json and the figures, into the folder; made if there is none."""
    results.save(folder)
    drawn = figures.draw(results, folder)
    (folder / REPORT).write_text(_page(results, drawn, folder))


def _page(results: Results, drawn: dict[str, str], folder: Path) -> str:
    outcomes = results.outcomes
    parts = ["# What rnnserve costs, beside what it could cost", ABOUT, _setting(results)]
    if judged := verdicts(outcomes):
        parts += ["## Targets", f"{MAIN.title}, in this run:", verdict_table(judged).markdown()]
    parts += [HOW_TO_READ, _disturbed(results), _saturated(results), TRITON_NOTE]
    for name, outcome in outcomes.items():
        if not name.startswith(("model-", "shape-", "curve-")):
            parts += _scenario(outcome, drawn)
    parts += _models(results)
    parts += _shapes(results)
    parts += _curves(results, drawn)
    for profile in sorted(folder.glob(PROFILES)):
        parts += [profile.read_text().strip()]
    parts += [(folder / page).read_text().strip() for page in OTHERS if (folder / page).exists()]
    return "\n\n".join(part for part in parts if part) + "\n"


def _setting(results: Results) -> str:
    settings = ", ".join(f"{key} {value:g}" for key, value in results.settings.items())
    lines = [f"    {results.command}", ""]
    lines += [f"- {', '.join(f'{k}: {v}' for k, v in results.machine.items())}"]
    lines += [f"- {', '.join(f'{k} {v}' for k, v in results.versions.items())}"]
    lines += [f"- {settings}; bare wire: `{results.echo_method}`; load: {results.client} client"]
    for name, value in results.checks.items():
        lines += [f"- logits of {name} differ from the raw run's by {value:.1e} at the most"]
    return "\n".join(lines)


def verdict_table(judged: list[Verdict]) -> Table:
    """One row a target."""
    rows = []
    for verdict in judged:
        sign = "at most" if verdict.at_most else "at least"
        met = {True: "yes", False: "**no**", None: "not measured"}[verdict.met]
        found = limit = ratio = ""
        if verdict.met is not None:
            found = f"{number(median(verdict.found))} {verdict.unit}"
            limit = f"{number(median(verdict.limit))} {verdict.unit}"
            ratio = with_spread(verdict.ratios)
        rows.append((verdict.scenario, f"{sign} {verdict.target}", limit, found, ratio, met))
    head = ("scenario", "target", "limit", "found", "found / limit [min..max]", "met")
    return Table(head, tuple(rows))


def _disturbed(results: Results) -> str:
    """How much of the core the raw runs had: they never wait, so the rest went to others."""
    shares = [
        sample.server_load
        for outcome in results.outcomes.values()
        for name, samples in outcome.samples.items()
        if name.startswith(RAW)
        for sample in samples
    ]
    if not shares:
        return ""
    return (
        f"A raw run never waits, and the raw windows had {median(shares):.1%} of their core (the "
        f"worst {min(shares):.0%}): what is missing, something else on the machine took."
    )


def _saturated(results: Results) -> str:
    """Where the load generator was the bottleneck, so that the wall time is its own."""
    found = [
        f"{outcome.title.lower()}: {name}"
        for outcome in results.outcomes.values()
        for name, samples in outcome.samples.items()
        if median([sample.client_load for sample in samples]) >= FULL_LOAD
    ]
    if not found:
        return "The load generator's core was below 95 % everywhere."
    return (
        "**The load generator's core was saturated** in these, so that their time is the "
        "generator's rather than the server's, and the server's CPU says what it cost: "
        + "; ".join(found)
        + "."
    )


def _scenario(outcome: Outcome, drawn: dict[str, str]) -> list[str]:
    parts = [f"## {outcome.title}"]
    if note := NOTES.get(outcome.name):
        parts.append(note)
    parts.append(scenario_table(outcome).markdown())
    if outcome.name == "memory":
        parts.append(_memory(outcome))
    parts += [f"{name} is missing: {why}" for name, why in outcome.missing.items()]
    parts += _crashes(outcome)
    if outcome.name == "beside":
        parts.append(_blocks(outcome))
    if outcome.name in drawn:
        parts.append(f"![{outcome.title}]({drawn[outcome.name]})")
    return parts


def _crashes(outcome: Outcome) -> list[str]:
    """How often a contestant had to be started again for its windows."""
    return [
        f"{name} crashed {crashes:.0f} times and was started again."
        for name, samples in outcome.samples.items()
        if (crashes := sum(sample.facts.get(CRASHES, 0.0) for sample in samples))
    ]


def _blocks(outcome: Outcome) -> str:
    """What the server's own metrics say of the blocks that the small one waited for."""
    facts = [sample.facts for sample in outcome.samples.get(OURS, [])]
    rows = [
        (number(fact["long_block_steps"]), number(fact["long_run_s"] * 1e6))
        for fact in facts
        if "long_block_steps" in fact
    ]
    head = ("steps of a block, by the server's metrics", "a run of it, us")
    return Table(head, tuple(rows)).markdown()


def _memory(outcome: Outcome) -> str:
    rows = [
        tuple(
            number(sample.facts[fact] / 1e6)
            for fact in ("empty_bytes", "full_bytes", "carries_bytes")
        )
        for sample in outcome.samples.get(OURS, [])
    ]
    head = ("empty, MB", "with the sessions, MB", "their carries, MB")
    return Table(head, tuple(rows)).markdown()


def _models(results: Results) -> list[str]:
    """us a step, one row a model."""
    found = [
        (m, results.outcomes[n]) for m in TABLE if (n := f"model-{m.name}") in results.outcomes
    ]
    if not found:
        return []
    columns = [*dict.fromkeys(name for _, outcome in found for name in outcome.samples)]
    rows = [
        (model.title, *(_step_us(outcome, column) for column in columns))
        for model, outcome in found
    ]
    table = Table(("us a step", *columns), tuple(rows)).markdown()
    return ["## Every model: raw, torch, served", table]


def _shapes(results: Results) -> list[str]:
    rows = []
    for model in PUBLISHED:
        outcome = results.outcomes.get(f"shape-{model.name}")
        for name in (RAW, OURS):
            samples = outcome.samples.get(name, []) if outcome else []
            if samples:
                p50, p99, most = zip(
                    *((s.p50_us, s.p99_us, s.max_us) for s in samples), strict=True
                )
                cells = (number(median(p50)), number(median(p99)), number(max(most)))
                rows.append((model.title, "raw, in process" if name == RAW else "served", *cells))
    head = ("shape", "", "p50 us", "p99 us", "max us")
    if not rows:
        return []
    return [
        "## Single steps of shapes with published times",
        SHAPES,
        Table(head, tuple(rows)).markdown(),
    ]


def _curves(results: Results, drawn: dict[str, str]) -> list[str]:
    rows = []
    for model in TABLE:
        outcome = results.outcomes.get(f"curve-{model.name}")
        for name in (RAW, TORCH) if outcome else ():
            assert outcome is not None
            cells = (_step_us(outcome, curve_name(name, count)) for count in CURVE_ROWS)
            rows.append((f"{model.title}, {name}", *cells))
    if not rows:
        return []
    table = Table(("us a step at batch", *map(str, CURVE_ROWS)), tuple(rows)).markdown()
    parts = ["## Cost of a step by batch", table]
    if "curves" in drawn:
        parts.append(f"![Cost of a step by batch]({drawn['curves']})")
    return parts


def _step_us(outcome: Outcome, contestant: str) -> str:
    values = [s.step_us for s in outcome.samples.get(contestant, [])]
    values = [value for value in values if not math.isnan(value)]
    return with_spread(values) if values else ""
