"""Question 4: when is which one the right choice?  A row for every need, with its numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from rnnserve_models.cell_options import KERNEL
from rnnserve_models.study.digits import PIXELS
from rnnserve_models.study.findings import Findings, title
from rnnserve_models.study.fit import CHARACTERS
from rnnserve_models.study.report import cost, language
from rnnserve_models.study.report.markdown import Table, listed, number, percent
from rnnserve_models.study.variants import ARCHITECTURES, VARIANTS

AS_GOOD = 0.03
"""What is within 3 % of the best of a kind counts as good as it."""


@dataclass(frozen=True)
class Need:
    """Something that somebody may want, and how good each architecture is at it.

    Attributes:
        words: what is wanted.
        short: the same as the head of a column.
        values: by variant.
        show: a value with its unit.
        most: whether more is better.
        none_below: nobody is chosen whose value is not above this.
    """

    words: str
    short: str
    values: Mapping[str, float]
    show: Callable[[float], str]
    most: bool = False
    none_below: float | None = None

    def chosen(self) -> list[str]:
        """The best, and those as good within AS_GOOD; empty where nobody will do."""
        if not self.values:
            return []
        best = (max if self.most else min)(self.values.values())
        if self.none_below is not None and best <= self.none_below:
            return []
        return [
            name
            for name, value in self.values.items()
            if value == best or math.isclose(value, best, rel_tol=AS_GOOD)
        ]

    def row(self) -> tuple[str, str, str]:
        """The need, who meets it best, everybody's numbers from the best to the worst."""
        order = sorted(self.values, key=lambda name: self.values[name], reverse=self.most)
        numbers = ", ".join(f"{title(name)} {self.show(self.values[name])}" for name in order)
        return self.words, listed([title(name) for name in self.chosen()]), numbers


def needs(findings: Findings) -> list[Need]:
    """Those that there are numbers for."""
    return [need for need in (*_learning(findings), *_serving(findings)) if need.values]


def _learning(findings: Findings) -> Iterator[Need]:
    names = [variant.name for variant in ARCHITECTURES]

    def among(task: str) -> list[str]:
        return [name for name in names if name in findings.variants(task)]

    yield Need(
        "to add up what was marked long ago",
        "adding",
        {name: findings.reach("adding", name) for name in among("adding")},
        lambda reach: f"T = {reach:.0f}" if reach else "none",
        most=True,
        none_below=0,
    )
    yield Need(
        "to repeat exactly what came long ago",
        "copy",
        {name: findings.reach("copy", name) for name in among("copy")},
        lambda reach: f"T = {reach:.0f}" if reach else "none",
        most=True,
        none_below=0,
    )
    for task, words in (("digits", "in order"), ("permuted", "in a random order")):
        shares = {name: findings.success(task, PIXELS, name) for name in among(task)}
        yield Need(
            f"to classify a sequence read {words}",
            f"digits {words}",
            {name: share.middle for name, share in shares.items() if share is not None},
            percent,
            most=True,
        )
    yield Need(
        "to predict text at equal size and updates",
        "bits per character",
        {name: bits.middle for name, bits in language.ranked(findings, CHARACTERS)},
        lambda bits: f"{bits:.3f} bits",
    )
    yield Need(
        "to look back beyond any fixed number of steps",
        "reach, steps",
        {name: farthest(findings, name) for name in among(CHARACTERS)},
        lambda steps: "no limit" if math.isinf(steps) else f"{steps:,.0f} steps",
        most=True,
    )
    yield Need(
        "to train quickly (characters/s, one core)",
        "characters/s trained",
        {name: language.trained_per_s(findings, CHARACTERS, name) for name in among(CHARACTERS)},
        number,
        most=True,
    )


def farthest(findings: Findings, name: str) -> float:
    """The steps that a prediction of text can depend on: those of the cells' own docstrings."""
    fit = next(f for f in findings.plan.fits if (f.task, f.variant) == (CHARACTERS, name))
    match VARIANTS[name].cell:
        case "tcn":
            return 1 + 2 * (KERNEL - 1) * ((1 << fit.layers) - 1)
        case "attention":
            return 1 + fit.layers * (fit.own_options["attention_window"] - 1)
        case _:
            return math.inf


def _serving(findings: Findings) -> Iterator[Need]:
    costs = findings.architecture_costs
    if not costs:
        return
    most = max(costs[0].step_us)
    yield Need(
        "the quickest answer for one alone",
        "us a token, batch 1",
        {one.name: one.token_us(1) for one in costs},
        lambda us: f"{number(us)} us",
    )
    yield Need(
        f"the cheapest token where {most} step together",
        f"us a token, batch {most}",
        {one.name: one.token_us(most) for one in costs},
        lambda us: f"{number(us)} us",
    )
    yield Need(
        "to keep the most sessions in memory",
        "carry, bytes",
        {one.name: one.carry_bytes for one in costs},
        lambda size: f"{size:,.0f} bytes",
    )
    yield Need(
        "a token that costs no more late than early",
        "late / early",
        {one.name: cost.growth(one) for one in costs},
        lambda ratio: f"{ratio:.2f} times",
    )


def table(findings: Findings) -> Table:
    """One row a need."""
    return Table(
        ("what matters", "best, or within 3 % of it", "numbers"),
        tuple(need.row() for need in needs(findings)),
        is_prose=True,
    )


def summary(findings: Findings) -> Table:
    """One row an architecture, with all its numbers."""
    found = needs(findings)
    rows = [
        (
            variant.title,
            *(
                need.show(need.values[variant.name]) if variant.name in need.values else ""
                for need in found
            ),
        )
        for variant in ARCHITECTURES
        if any(variant.name in need.values for need in found)
    ]
    return Table(("", *(need.short for need in found)), tuple(rows))


def sentences(findings: Findings) -> list[str]:
    """Who is best at how many things; what nobody can do."""
    found = needs(findings)
    wins: dict[str, int] = {}
    for need in found:
        for name in need.chosen():
            wins[name] = wins.get(name, 0) + 1
    order = sorted(wins, key=lambda name: -wins[name])
    counts = listed([f"{title(name)} in {wins[name]}" for name in order])
    unmet = [need.words for need in found if not need.chosen()]
    nobody = f" Nobody managed {listed(unmet)}." if unmet else ""
    every = [title(name) for name in order if wins[name] == len(found)]
    verdict = f"{every[0]} is it everywhere" if every else "nobody is it everywhere"
    return [
        f"Of {len(found)} needs the best, or within 3 % of it, is {counts}; {verdict}, so the"
        f" choice follows from what matters most.{nobody}"
    ]
