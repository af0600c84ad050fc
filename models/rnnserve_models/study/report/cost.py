"""Question 3: what does it cost to serve?"""

from __future__ import annotations

from collections.abc import Callable

from rnnserve_models.study.findings import Findings, title
from rnnserve_models.study.report.markdown import Table, listed, number
from rnnserve_models.study.serving import WINDOW, ServingCost

SAME = 1.25
"""A cost that changed by less than this factor counts as the same: timings are no finer here."""


def sentences(findings: Findings) -> list[str]:
    """What a token and a session cost; what a long history costs."""
    costs = findings.architecture_costs
    return [_tokens(costs), _histories(findings)] if costs else []


def _tokens(costs: list[ServingCost]) -> str:
    rows = sorted(costs[0].step_us)
    alone, most = rows[0], rows[-1]
    return (
        f"A token costs {_range(costs, lambda cost: cost.token_us(alone), 'us')} in a batch of"
        f" {alone} and {_range(costs, lambda cost: cost.token_us(most), 'us')} in a batch of"
        f" {most}; a session keeps {_range(costs, lambda cost: cost.carry_bytes, 'bytes')}."
    )


def _range(costs: list[ServingCost], value: Callable[[ServingCost], float], unit: str) -> str:
    least, most = min(costs, key=value), max(costs, key=value)
    if value(least) == value(most):
        return f"{number(value(least))} {unit}"
    return (
        f"from {number(value(least))} ({title(least.name)}) to {number(value(most))} {unit}"
        f" ({title(most.name)})"
    )


def growth(cost: ServingCost) -> float:
    """One more token after the longest history, over the same after the shortest."""
    return cost.history_us[max(cost.history_us)] / cost.history_us[min(cost.history_us)]


def _histories(findings: Findings) -> str:
    costs = findings.architecture_costs
    longest, shortest = max(costs[0].history_us), min(costs[0].history_us)
    same = [title(cost.name) for cost in costs if growth(cost) < SAME]
    more = [f"{title(c.name)} ({number(growth(c))} times)" for c in costs if growth(c) >= SAME]
    parts = []
    if same:
        parts.append(f"the same (within {SAME - 1:.0%}) in {listed(same)}".replace("%", " %"))
    if more:
        parts.append(f"more in {listed(more)}")
    again = _range(costs, lambda cost: cost.again_us[longest] / cost.history_us[longest], "times")
    return (
        f"After {longest:,} steps one more costs, against after {shortest}, {' and '.join(parts)};"
        f" without a carry, all steps run again, it would cost {again} as much"
        f"{_windows(findings)}."
    )


def windows(findings: Findings) -> list[tuple[int, ServingCost]]:
    """Attention's windows in steps, ascending, each with its cost; its own is one of them."""
    found = [
        (int(cost.name.removeprefix(WINDOW)), cost)
        for cost in findings.serving
        if cost.name.startswith(WINDOW)
    ]
    own = findings.cost("attention")
    if found and own is not None:
        fits = (fit for fit in findings.plan.fits if fit.is_text and fit.variant == own.name)
        found.append((next(fits).own_options["attention_window"], own))
    return sorted(found, key=lambda pair: pair[0])


def _windows(findings: Findings) -> str:
    """What attention pays for its window."""
    found = windows(findings)
    if not found:
        return ""
    (small, cheap), (large, dear) = found[0], found[-1]
    least, most = cheap.token_us(1), dear.token_us(1)
    return (
        f"; attention's step takes {number(least)} us with a window of {small} and"
        f" {number(most)} us with one of {large}"
    )


def why_attention_is_flat(findings: Findings) -> str:
    """A remark where attention's cost doesn't grow with its history; empty where it does."""
    cost = findings.cost("attention")
    if cost is None or growth(cost) >= SAME:
        return ""
    return (
        "Attention's cost doesn't grow up to its window here: its carry has a fixed shape, so a"
        " step pays for the whole window from the first token on. What grows is the cost with the"
        " window's size."
    )


def table(findings: Findings) -> Table:
    """Microseconds of a step and of a token by batch, bytes of a carry."""
    costs = findings.architecture_costs
    rows_of = sorted(costs[0].step_us)
    head = (
        "",
        "parameters",
        "carry, bytes",
        *(f"us a step, batch {rows}" for rows in rows_of),
        *(f"us a token, batch {rows}" for rows in rows_of),
        *(f"us a token, batch {rows}, {costs[0].block_steps} steps" for rows in rows_of),
    )
    rows = [
        (
            title(cost.name),
            f"{cost.parameters:,}",
            f"{cost.carry_bytes:,}",
            *(number(cost.step_us[rows]) for rows in rows_of),
            *(number(cost.token_us(rows)) for rows in rows_of),
            *(number(cost.block_us[rows] / rows / cost.block_steps) for rows in rows_of),
        )
        for cost in costs
    ]
    return Table(head, tuple(rows))


def history_table(findings: Findings) -> Table:
    """One more token after so many, with the carry and by running all of them again."""
    costs = findings.architecture_costs
    lengths = sorted(costs[0].history_us)
    rows = [
        (title(cost.name), *(number(cost.history_us[length]) for length in lengths))
        for cost in costs
    ]
    rows += [
        (f"{title(cost.name)}, all again", *(number(cost.again_us[length]) for length in lengths))
        for cost in costs
    ]
    return Table(
        ("us of one more token, by steps before", *map("{:,}".format, lengths)), tuple(rows)
    )


def window_table(findings: Findings) -> Table:
    """Attention by its window."""
    rows = [
        (str(window), number(cost.step_us[1]), f"{cost.carry_bytes:,}")
        for window, cost in windows(findings)
    ]
    return Table(("window, steps", "us a step, batch 1", "carry, bytes"), tuple(rows))
