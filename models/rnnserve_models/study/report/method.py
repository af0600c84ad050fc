"""How a study was done: what it ran on, the recipe, how many fits of what size ended how."""

from __future__ import annotations

from rnnserve_models.study.findings import Findings
from rnnserve_models.study.fit import Ended
from rnnserve_models.study.report.markdown import Table, listed, number, percent


def setting(findings: Findings) -> list[str]:
    """Command, machine, versions, size."""
    plan = findings.plan
    lines = [
        f"    {plan.command}",
        "",
        f"- {', '.join(f'{name}: {value}' for name, value in plan.machine.items())}",
        f"- {', '.join(f'{name} {value}' for name, value in plan.versions.items())}",
        f"- {len(findings.results)} of {len(plan.fits)} fits, seeds of each kind: {plan.seeds},"
        f" {plan.workers} at a time with one thread each",
        f"- updates: {percent(plan.scale)} of the full budgets",
    ]
    parts = ["\n".join(lines)]
    if plan.quick:
        parts.append(
            "**This is a run of the tiny sizes: it shows that everything works, no more.**"
        )
    return parts


def parts(findings: Findings) -> list[str]:
    """The section at the end of the report."""
    return ["## How it was done", _recipe(findings), _endings(findings), _text(), _table(findings)]


def _recipe(findings: Findings) -> str:
    recipe = findings.plan.recipe
    return (
        f"Every fit: Adam, batches of {recipe.batch}, a learning rate that rises over"
        f" {recipe.warmup_steps} updates to {recipe.learning_rate:g}, stays, and falls over the"
        f" last third to {percent(recipe.last_rate)} of that; gradients are clipped to a norm of 1"
        " unless the name says otherwise. All architectures see the same examples in the same order"
        " for a seed. Widths are so chosen that the numbers of parameters come out equal. TCN and"
        " attention reach over a whole sequence."
    )


def _endings(findings: Findings) -> str:
    recipe = findings.plan.recipe
    ends = {reason: sum(r.ended is reason for r in findings.results) for reason in Ended}
    lost = listed([result.fit.name for result in findings.diverged()])
    diverged = f"{ends[Ended.DIVERGED]} diverged" + (f" ({lost})" if findings.diverged() else "")
    return (
        f"A fit ends early when its held-out loss is below {percent(recipe.solved_margin)} of what"
        f" counts as solved ({ends[Ended.SOLVED]} fits), or when after two thirds of its updates it"
        f" has never been {percent(1 - recipe.left_below)} better than the trivial answer and is"
        f" within {percent(recipe.arrived_below - 1)} of it ({ends[Ended.STUCK]});"
        f" {ends[Ended.BUDGET]} used all their updates, {diverged}."
    )


def _text() -> str:
    return (
        "Language models are trained by the project's own trainer (the same recipe with a cosine"
        " decay, float32) and scored with the carry streamed over the beginning of the validation"
        " text. Times and speeds of training are the processor's, on one core; those of serving are"
        " by the clock, with nothing else of the study running. The raw results are in results.csv,"
        " curves.csv, gradients.csv and serving.csv."
    )


def _table(findings: Findings) -> str:
    rows = []
    for task, length in sorted({(fit.task, fit.length) for fit in findings.plan.fits}):
        planned = [f for f in findings.plan.fits if (f.task, f.length) == (task, length)]
        found = [r for r in findings.results if (r.fit.task, r.fit.length) == (task, length)]
        if not found:
            continue
        sizes = sorted(result.parameters for result in found)
        rows.append(
            (
                f"{task}, T = {length}",
                f"{len(found)} of {len(planned)}",
                f"{max(fit.steps for fit in planned):,}",
                f"{sizes[0]:,} to {sizes[-1]:,}",
                number(sum(result.seconds for result in found) / 60),
            )
        )
    head = ("", "fits", "updates at most", "parameters", "minutes of training")
    return Table(head, tuple(rows)).markdown()
