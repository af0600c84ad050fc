"""Language modelling: the table of the README, all of it from one run."""

from __future__ import annotations

import math
from statistics import median

from rnnserve_models.study.findings import Findings, Spread, title
from rnnserve_models.study.fit import CHARACTERS, FILE
from rnnserve_models.study.report.markdown import Table, listed, number

TEXTS = {CHARACTERS: "the default text", FILE: "the given text"}


def ranked(findings: Findings, task: str) -> list[tuple[str, Spread]]:
    """Variants with their bits per character, the best first."""
    found = [
        (name, bits)
        for name in findings.variants(task)
        if (bits := findings.bits(task, name)) is not None
    ]
    return sorted(found, key=lambda pair: pair[1].middle)


def sentences(findings: Findings) -> list[str]:
    """Who predicts each text best, and who can't be told from the best."""
    return [_sentence(findings, task) for task in TEXTS if findings.variants(task)]


def _sentence(findings: Findings, task: str) -> str:
    order = ranked(findings, task)
    lost = [title(name) for name in findings.variants(task) if not findings.bits(task, name)]
    diverged = f" No seed of {listed(lost)} came to an end." if lost else ""
    if not order:
        return diverged.strip()
    (best, least), (worst, most) = order[0], order[-1]
    near = [title(name) for name, bits in order[1:] if bits.least <= least.most]
    same = f", whose seeds overlap with those of {listed(near)}" if near else ""
    baseline = findings.baseline(task, findings.lengths(task)[0]) / math.log(2)
    return (
        f"On {TEXTS[task]} {title(best)} predicts best with {least.middle:.3f} bits per character"
        f"{same}, and {title(worst)} worst with {most.middle:.3f}; frequencies alone give"
        f" {baseline:.3f}.{diverged}"
    )


def trained_per_s(findings: Findings, task: str, variant: str) -> float:
    """Characters learnt a second on one core, beside the other workers."""
    seeds = [r for r in findings.results if (r.fit.task, r.fit.variant) == (task, variant)]
    return median(result.inputs_per_s for result in seeds) if seeds else math.nan


def readme_table(findings: Findings, task: str = CHARACTERS) -> Table:
    """Parameters, bits per character, steps a second trained and served, carry bytes."""
    costs = {cost.name: cost for cost in findings.architecture_costs}
    most = max((rows for cost in costs.values() for rows in cost.step_us), default=0)
    rows = []
    for name in findings.variants(task):
        seeds = [r for r in findings.results if (r.fit.task, r.fit.variant) == (task, name)]
        bits, cost = findings.bits(task, name), costs.get(name)
        served = ("", "", "")
        if cost is not None:
            served = (
                number(cost.tokens_per_s(1)),
                number(cost.tokens_per_s(most)),
                f"{cost.carry_bytes:,}",
            )
        rows.append(
            (
                title(name),
                f"{seeds[0].parameters:,}",
                "diverged" if bits is None else _bits(bits),
                number(trained_per_s(findings, task, name)),
                *served,
            )
        )
    head = (
        "",
        "parameters",
        "bits per character",
        "steps/s trained",
        "steps/s served, batch 1",
        f"steps/s served, batch {most}",
        "carry, bytes",
    )
    return Table(head, tuple(rows))


def _bits(found: Spread) -> str:
    if found.least == found.most:
        return f"{found.middle:.3f}"
    return f"{found.middle:.3f} [{found.least:.3f}..{found.most:.3f}]"
