"""Question 2: where do gradients go?"""

from __future__ import annotations

import math
from statistics import fmean, median

from rnnserve_models.study.findings import Findings, title
from rnnserve_models.study.fit import Result
from rnnserve_models.study.report.markdown import Table, listed, number
from rnnserve_models.study.variants import CLIP, FOR_GRADIENTS

TASK = "adding"
HELD = 10.0
"""A norm that changed by less than this factor over all lags counts as held."""
CLIPPED_AND_NOT = (
    ("rnn", "rnn-unclipped"),
    ("rnn-loud", "rnn-loud-unclipped"),
    ("lstm", "lstm-unclipped"),
)


def probed(findings: Findings, variant: str) -> list[Result]:
    """The fits whose gradients were looked at."""
    seeds = findings.seeds(TASK, findings.plan.gradient_length, variant)
    return [result for result in seeds if result.gradients]


def norms(findings: Findings, variant: str, when: str, kind: str) -> list[float]:
    """By lag, from 1 on: the geometric mean over the seeds; empty where there is nothing."""
    found = [
        result.gradients[when][kind]
        for result in probed(findings, variant)
        if kind in result.gradients.get(when, {})
    ]
    # A norm that float32 has no number for any more is drawn at the least that it has.
    least = 1e-45
    return [
        math.exp(fmean(math.log(max(norm, least)) for norm in at_lag))
        for at_lag in zip(*found, strict=True)
    ]


def change(findings: Findings, variant: str, when: str, kind: str = "h") -> float | None:
    """The norm at the longest lag over that at lag 1."""
    found = norms(findings, variant, when, kind)
    return found[-1] / found[0] if found else None


def sentences(findings: Findings) -> list[str]:
    """What becomes of the norm over the lags; what clipping does."""
    found = [_vanishing(findings), _clipping(findings)]
    return [sentence for sentence in found if sentence]


def _vanishing(findings: Findings) -> str:
    parts = []
    for when, words in (("before", "before training"), ("after", "after training it")):
        changes = {
            name: ratio
            for name in FOR_GRADIENTS
            if (ratio := change(findings, name, when)) is not None
        }
        if changes:
            parts.append(f"{words} {_kinds(changes)}")
    if not parts:
        return ""
    longest = findings.plan.gradient_length - 1
    return (
        f"From lag 1 to lag {longest} of the adding problem the norm of dL/dh "
        f"{'; '.join(parts)} (held: within a factor of {HELD:.0f})."
    )


def _kinds(changes: dict[str, float]) -> str:
    """Who vanished, held and exploded, with the factors."""
    kinds: dict[str, list[str]] = {}
    for name, ratio in changes.items():
        verb = "vanished" if ratio < 1 / HELD else "exploded" if ratio > HELD else "held"
        kinds.setdefault(verb, []).append(f"{title(name)} ({number(ratio)})")
    return ", ".join(
        f"{verb} in {listed(kinds[verb])}"
        for verb in ("vanished", "held", "exploded")
        if verb in kinds
    )


def _clipping(findings: Findings) -> str:
    parts = []
    for clipped, free in CLIPPED_AND_NOT:
        with_it, without = _ends(findings, clipped), _ends(findings, free)
        norm = largest_norm(findings, free)
        if with_it is None or without is None or norm is None:
            continue
        parts.append(
            f"{title(clipped)} (norms of up to {number(norm)} without it) ended at"
            f" {number(with_it)} with it and {number(without)} without"
        )
    if not parts:
        return ""
    return (
        "Clipping shortens the whole gradient to a norm of"
        f" {CLIP:g} and leaves the proportion between lags as it is; what it changed is how"
        f" training went: {listed(parts)} (MSE; {number(_baseline(findings))} is the baseline)."
    )


def _baseline(findings: Findings) -> float:
    return findings.baseline(TASK, findings.plan.gradient_length)


def _ends(findings: Findings, variant: str) -> float | None:
    seeds = findings.seeds(TASK, findings.plan.gradient_length, variant)
    return median(result.loss for result in seeds) if seeds else None


def largest_norm(findings: Findings, variant: str) -> float | None:
    """The largest norm of a gradient in training, before clipping, over all seeds."""
    found = [
        point.gradient_norm
        for result in findings.seeds(TASK, findings.plan.gradient_length, variant)
        for point in result.curve
        if math.isfinite(point.gradient_norm)
    ]
    return max(found, default=None)


def table(findings: Findings) -> Table:
    """By variant: the norm at the longest lag over that at lag 1, of h and of c."""
    rows = []
    for name in FOR_GRADIENTS:
        for kind in ("h", "c"):
            cells = [change(findings, name, when, kind) for when in ("before", "after")]
            if any(cell is not None for cell in cells):
                rows.append(
                    (
                        f"{title(name)}, {kind}",
                        *("" if cell is None else number(cell) for cell in cells),
                    )
                )
    longest = findings.plan.gradient_length - 1
    return Table((f"norm at lag {longest} / at lag 1", "before", "after training"), tuple(rows))


def clipping_table(findings: Findings) -> Table:
    """With and without clipping: the largest norm, the loss at the end, fits that diverged."""
    rows = []
    for name in (name for pair in CLIPPED_AND_NOT for name in pair):
        seeds = findings.seeds(TASK, findings.plan.gradient_length, name)
        loss, norm = _ends(findings, name), largest_norm(findings, name)
        if loss is None or norm is None:
            continue
        diverged = sum(result.ended == "diverged" for result in seeds)
        rows.append((title(name), number(norm), number(loss), f"{diverged} of {len(seeds)}"))
    return Table(("", "largest norm", "MSE at the end", "diverged"), tuple(rows))
