"""The published table to hold against: Bai, Kolter & Koltun 2018 (arXiv 1803.01271), Table 1.

Only what can be held against it is: whether a task counts as solved, and who comes before whom.
Their sequences are longer and their models larger, so no figure of theirs is expected here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations

from rnnserve_models.study.digits import PIXELS
from rnnserve_models.study.findings import Findings, title
from rnnserve_models.study.fit import CHARACTERS
from rnnserve_models.study.report.markdown import Table, listed, number, percent, spread

WITHIN = 0.01
"""Two figures nearer than this part of the larger come in no order."""


@dataclass(frozen=True)
class Row:
    """A task as it was published.

    Attributes:
        theirs: by variant, in the unit of `unit`.
        below: the line under which their loss counts as solved; None where order is compared.
        more_is_better: of the figures.
    """

    task: str
    words: str
    unit: str
    theirs: dict[str, float]
    below: float | None = None
    more_is_better: bool = False


ROWS = (
    Row(
        "adding",
        "adding, T = 600",
        "MSE",
        {"lstm": 0.164, "gru": 5.3e-5, "rnn": 0.177, "tcn": 5.8e-5},
        below=0.01,
    ),
    Row(
        "copy",
        "copy, T = 1000",
        "nats a step",
        {"lstm": 0.0204, "gru": 0.0197, "rnn": 0.0202, "tcn": 3.5e-5},
        below=0.1 * 10 * math.log(8) / 1020,
    ),
    Row(
        "digits",
        "sequential MNIST",
        "accuracy",
        {"lstm": 0.872, "gru": 0.962, "rnn": 0.215, "tcn": 0.99},
        more_is_better=True,
    ),
    Row(
        "permuted",
        "permuted MNIST",
        "accuracy",
        {"lstm": 0.857, "gru": 0.873, "rnn": 0.253, "tcn": 0.972},
        more_is_better=True,
    ),
    Row(
        CHARACTERS,
        "characters, PTB",
        "bits per character",
        {"lstm": 1.36, "gru": 1.37, "rnn": 1.48, "tcn": 1.31},
    ),
)


def ours(findings: Findings, row: Row) -> dict[str, float]:
    """Our median figures by variant: at the longest T, in their unit."""
    found: dict[str, float] = {}
    for name in row.theirs:
        if name not in findings.variants(row.task):
            continue
        length = findings.lengths(row.task)[-1]
        if row.more_is_better:
            value = findings.success(row.task, PIXELS, name)
        elif row.task == CHARACTERS:
            value = findings.bits(row.task, name)
        else:
            value = findings.loss(row.task, length, name)
        if value is not None:
            found[name] = value.middle
    return found


def differences(findings: Findings, row: Row) -> list[str]:
    """Where ours says something else than theirs, each in a few words."""
    found = ours(findings, row)
    if row.below is not None:
        length = findings.lengths(row.task)[-1] if found else 0
        return [
            f"{title(name)} {'solves' if here else 'does not solve'} it here"
            for name in found
            if (here := findings.solved(row.task, length, name)) != (row.theirs[name] < row.below)
        ]
    wrong = []
    for one, other in combinations(found, 2):
        theirs = _order(row.theirs[one], row.theirs[other])
        ours_is = _order(found[one], found[other])
        if theirs and ours_is and theirs != ours_is:
            better = one if (found[one] > found[other]) == row.more_is_better else other
            worse = other if better == one else one
            wrong.append(f"{title(better)} comes before {title(worse)} here")
    return wrong


def _order(one: float, other: float) -> int:
    """-1, 0 or 1: less, as good as equal, more."""
    if abs(one - other) <= WITHIN * max(abs(one), abs(other)):
        return 0
    return -1 if one < other else 1


def table(findings: Findings) -> Table:
    """Theirs beside ours, and where they differ."""
    rows = []
    for row in ROWS:
        found = ours(findings, row)
        if not found:
            continue
        show = percent if row.more_is_better else number
        length = findings.lengths(row.task)[-1]
        here = f"T = {length}" if row.below is not None else ""
        differ = differences(findings, row)
        rows.append(
            (
                f"{row.words} ({row.unit}); here {here}".removesuffix("; here "),
                *(
                    f"{show(row.theirs[n])} / {show(found[n]) if n in found else '-'}"
                    for n in row.theirs
                ),
                "agrees" if not differ else listed(differ),
            )
        )
    names = [title(name) for name in ROWS[0].theirs]
    return Table(("theirs / ours", *names, "solved or not; order"), tuple(rows))


def reasons(findings: Findings) -> list[str]:
    """Why they may differ: what was seen of our own LSTM, and how the settings differ."""
    return [
        reason
        for reason in (_forget_bias(findings), _clipping(findings), _sizes(findings))
        if reason
    ]


def _forget_bias(findings: Findings) -> str:
    """What the forget bias did here to whether the LSTM solves a task."""
    decided, compared = [], 0
    for task in ("adding", "copy"):
        for length in findings.lengths(task):
            without = findings.loss(task, length, "lstm-b0")
            with_it = findings.loss(task, length, "lstm")
            if without is None or with_it is None:
                continue
            compared += 1
            if findings.solved(task, length, "lstm") != findings.solved(task, length, "lstm-b0"):
                losses = f"{spread(with_it)} with it, {spread(without)} without"
                decided.append(f"{task} at T = {length} (loss {losses})")
    if not compared:
        return ""
    if not decided:
        return (
            "A forget bias of 1 instead of 0 changed at no length whether our LSTM solves a task,"
            " so it explains no difference here."
        )
    return f"A forget bias of 1 instead of 0 decided whether our LSTM solves {listed(decided)}."


def _clipping(findings: Findings) -> str:
    length = findings.plan.gradient_length
    with_it = findings.loss("adding", length, "lstm")
    without = findings.loss("adding", length, "lstm-unclipped")
    if with_it is None or without is None:
        return ""
    return (
        f"With clipped gradients our LSTM ended the adding problem of T = {length} at"
        f" {spread(with_it)}, with gradients as they are at {spread(without)}."
    )


def _sizes(findings: Findings) -> str:
    recipe = findings.plan.recipe
    longest = [
        f"{task} {findings.lengths(task)[-1]} steps instead of {theirs}"
        for task, theirs in (("adding", "600"), ("copy", "1,000"))
        if findings.lengths(task)
    ]
    steps = sorted({fit.steps for fit in findings.plan.fits})
    updates = f"{steps[0]:,} to {steps[-1]:,}" if len(steps) > 1 else f"{steps[0]:,}"
    return (
        f"Lengths differ ({listed([*longest, f'digits {PIXELS} instead of 784'])}), the text is"
        " another one, and so do sizes: theirs are 16,000 parameters for copy, 70,000 for adding"
        " and digits and three million for characters. Ours are all trained alike: orthogonal"
        f" recurrent matrices, a highest learning rate of {recipe.learning_rate:g}, at most"
        f" {updates} updates of {recipe.batch} rows. Nothing of that was chosen by task or"
        " architecture, and a longer run may change who solves what."
    )
