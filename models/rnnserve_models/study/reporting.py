"""The report of a study as files: the page, its figures, and every number as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable

from rnnserve_models.study.figures import draw
from rnnserve_models.study.findings import Findings
from rnnserve_models.study.folder import StudyFolder
from rnnserve_models.study.plan import Plan
from rnnserve_models.study.report.page import page

Row = dict[str, object]


def write_report(folder: StudyFolder, plan: Plan) -> None:
    """Write everything that the results there so far allow."""
    findings = Findings(plan, list(folder.results(plan).values()), folder.serving() or [])
    for name, rows in (
        ("results.csv", results_rows(findings)),
        ("curves.csv", curve_rows(findings)),
        ("gradients.csv", gradient_rows(findings)),
        ("serving.csv", serving_rows(findings)),
    ):
        folder.write(folder.path / name, _csv(rows))
    figures = draw(findings)
    for name, png in figures.items():
        folder.write(folder.path / f"{name}.png", png)
    names = {name: f"{name}.png" for name in figures}
    folder.write(folder.report, page(findings, names))


def results_rows(findings: Findings) -> Iterable[Row]:
    """One row a fit."""
    for result in findings.results:
        yield {
            **_key(result.fit.as_key()),
            "hidden": result.fit.hidden,
            "layers": result.fit.layers,
            "parameters": result.parameters,
            "steps": result.fit.steps,
            "steps_done": result.steps_done,
            "ended": result.ended.value,
            "loss": result.loss,
            "baseline": result.baseline,
            "success": result.success,
            "seconds": round(result.seconds, 2),
            "inputs_per_s": round(result.inputs_per_s, 1),
        }


def curve_rows(findings: Findings) -> Iterable[Row]:
    """One row for every time that a fit was scored."""
    for result in findings.results:
        for point in result.curve:
            yield {
                **_key(result.fit.as_key()),
                "step": point.step,
                "train_loss": point.train_loss,
                "held_out_loss": point.held_out_loss,
                "gradient_norm": point.gradient_norm,
            }


def gradient_rows(findings: Findings) -> Iterable[Row]:
    """One row for every lag of every fit whose gradients were looked at."""
    for result in findings.results:
        for when, kinds in result.gradients.items():
            for kind, norms in kinds.items():
                for lag, norm in enumerate(norms, 1):
                    yield {
                        **_key(result.fit.as_key()),
                        "when": when,
                        "carry": kind,
                        "lag": lag,
                        "norm": norm,
                    }


def serving_rows(findings: Findings) -> Iterable[Row]:
    """One row for every timing."""
    for cost in findings.serving:
        timings = (
            *(("step", rows, 1, 0, us) for rows, us in cost.step_us.items()),
            *(("block", rows, cost.block_steps, 0, us) for rows, us in cost.block_us.items()),
            *(("after", 1, 1, before, us) for before, us in cost.history_us.items()),
            *(("again", 1, before + 1, 0, us) for before, us in cost.again_us.items()),
        )
        for what, rows, steps, before, us in timings:
            yield {
                "model": cost.name,
                "parameters": cost.parameters,
                "carry_bytes": cost.carry_bytes,
                "what": what,
                "rows": rows,
                "steps": steps,
                "steps_before": before,
                "us": round(us, 3),
            }


def _key(key: tuple[str, int, str, int]) -> Row:
    return dict(zip(("task", "length", "variant", "seed"), key, strict=True))


def _csv(rows: Iterable[Row]) -> str:
    file = io.StringIO()
    writer: csv.DictWriter[str] | None = None
    for row in rows:
        if writer is None:
            writer = csv.DictWriter(file, list(row), lineterminator="\n")
            writer.writeheader()
        writer.writerow(row)
    return file.getvalue()
