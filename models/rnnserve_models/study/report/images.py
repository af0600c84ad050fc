"""Sequential digits: an image read one pixel at a time."""

from __future__ import annotations

from rnnserve_models.study.digits import PIXELS
from rnnserve_models.study.findings import Findings, title
from rnnserve_models.study.report.markdown import Table, listed, percent, spread_of_shares

TASKS = {"digits": "in order", "permuted": "permuted"}


def sentences(findings: Findings) -> list[str]:
    """Who reads digits best in order; who loses how much when they are permuted."""
    if not all(findings.variants(task) for task in TASKS):
        return []
    names = [name for name in findings.variants("digits") if name in findings.variants("permuted")]
    plain = {name: accuracy(findings, "digits", name) for name in names}
    permuted = {name: accuracy(findings, "permuted", name) for name in names}
    return [
        f"Row by row the digits are read best by {_best(plain)} and worst by {_worst(plain)}, in"
        f" one random order best by {_best(permuted)} and worst by {_worst(permuted)}; always"
        " answering one digit gives about 10 %.",
        f"The random order changed the accuracy by {_changes(plain, permuted)}.",
    ]


def accuracy(findings: Findings, task: str, variant: str) -> float:
    """The median share of right answers."""
    found = findings.success(task, PIXELS, variant)
    assert found is not None
    return found.middle


def _best(shares: dict[str, float]) -> str:
    name = max(shares, key=lambda name: shares[name])
    return f"{title(name)} ({percent(shares[name])})"


def _worst(shares: dict[str, float]) -> str:
    name = min(shares, key=lambda name: shares[name])
    return f"{title(name)} ({percent(shares[name])})"


def _changes(plain: dict[str, float], permuted: dict[str, float]) -> str:
    return listed(
        [f"{100 * (permuted[name] - plain[name]):+.1f} points ({title(name)})" for name in plain]
    )


def table(findings: Findings) -> Table:
    """Accuracy on images that were not learnt."""
    names = [name for name in findings.variants("digits") if name in findings.variants("permuted")]
    rows = [
        (
            title(name),
            *(spread_of_shares(findings.success(task, PIXELS, name)) for task in TASKS),
        )
        for name in names
    ]
    return Table(("accuracy", *TASKS.values()), tuple(rows))
