"""Question 1: how far back does it remember?"""

from __future__ import annotations

from rnnserve_models.study.findings import Findings, title
from rnnserve_models.study.report.markdown import Table, listed, number, spread

NAMES = {"adding": "The adding problem", "copy": "Copy memory"}
LINES = {"adding": "an MSE below 0.01", "copy": "a loss below a tenth of the baseline"}
TRIVIAL = {"adding": "always answering 1", "copy": "guessing the symbols"}


def sentences(findings: Findings) -> list[str]:
    """One about the adding problem, one about copy memory; those that were run."""
    return [_sentence(findings, task) for task in NAMES if findings.variants(task)]


def _sentence(findings: Findings, task: str) -> str:
    return (
        f"{NAMES[task]} was solved ({LINES[task]} for most seeds) {_reaches(findings, task)}"
        f"{_left_behind(findings, task)}."
    )


def _reaches(findings: Findings, task: str) -> str:
    """Who solved it, up to where."""
    by_reach: dict[int, list[str]] = {}
    for name in findings.variants(task):
        by_reach.setdefault(findings.reach(task, name), []).append(title(name))
    return listed(
        [
            f"up to T = {reach} by {listed(by_reach[reach])}"
            if reach
            else f"at no length by {listed(by_reach[reach])}"
            for reach in sorted(by_reach, reverse=True)
        ]
    )


def _left_behind(findings: Findings, task: str) -> str:
    """Where those ended who didn't solve the longest, beside the trivial answer."""
    longest = findings.lengths(task)[-1]
    ends = [
        f"{title(name)} at {number(loss.middle)}"
        for name in findings.variants(task)
        if not findings.solved(task, longest, name)
        and (loss := findings.loss(task, longest, name)) is not None
    ]
    if not ends:
        return ""
    baseline = number(findings.baseline(task, longest))
    return f"; at T = {longest}, where {TRIVIAL[task]} gives {baseline}, it left {listed(ends)}"


def loss_table(findings: Findings, task: str) -> Table:
    """The loss at the end by length; what counts as solved is set in bold."""
    lengths = findings.lengths(task)
    rows = [
        (
            title(name),
            *(_marked(findings, task, length, name) for length in lengths),
        )
        for name in findings.variants(task)
    ]
    rows.append(("*baseline*", *(number(findings.baseline(task, T)) for T in lengths)))
    return Table(("", *(f"T = {length}" for length in lengths)), tuple(rows))


def _marked(findings: Findings, task: str, length: int, name: str) -> str:
    text = spread(findings.loss(task, length, name))
    return f"**{text}**" if findings.solved(task, length, name) else text


def updates_table(findings: Findings, task: str) -> Table:
    """Updates until the loss was first below the line, for those that solved it."""
    lengths = findings.lengths(task)
    rows = [
        (title(name), *(_updates(findings, task, length, name) for length in lengths))
        for name in findings.variants(task)
    ]
    return Table(("updates", *(f"T = {length}" for length in lengths)), tuple(rows))


def _updates(findings: Findings, task: str, length: int, name: str) -> str:
    updates = findings.updates_to_solve(task, length, name)
    return "" if updates is None else number(updates)
