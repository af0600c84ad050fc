"""report.md: the page, put together from what each question has to say."""

from __future__ import annotations

from collections.abc import Mapping

from rnnserve_models.study.findings import Findings
from rnnserve_models.study.fit import CHARACTERS, FILE
from rnnserve_models.study.report import (
    choice,
    cost,
    expected,
    flow,
    images,
    language,
    memory,
    method,
    published,
)
from rnnserve_models.study.report.markdown import Table

TITLE = "# Recurrent networks beside other architectures"


def page(findings: Findings, figures: Mapping[str, str]) -> str:
    """The whole report; `figures` are the files' names by question."""
    parts = [
        TITLE,
        *method.setting(findings),
        *_memory(findings, figures),
        *_flow(findings, figures),
        *_cost(findings, figures),
        *_choice(findings),
        *_language(findings, figures),
        *_published(findings),
        *_expected(findings),
        *method.parts(findings),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _section(
    heading: str, sentences: list[str], figure: str | None, *tables: tuple[str, Table]
) -> list[str]:
    if not sentences:
        return []
    parts = [f"## {heading}", " ".join(sentences)]
    if figure:
        parts.append(f"![{heading}]({figure})")
    for caption, table in tables:
        if not table.is_empty:
            parts += [caption, table.markdown()]
    return parts


def _memory(findings: Findings, figures: Mapping[str, str]) -> list[str]:
    tables = []
    for task, caption in (
        (
            "adding",
            "The adding problem: MSE at the end, median over the seeds [least..most], bold"
            " where most seeds solved it.",
        ),
        ("copy", "Copy memory: nats a step at the end."),
    ):
        if findings.variants(task):
            tables.append((caption, memory.loss_table(findings, task)))
            tables.append(
                (
                    "Updates until the loss was first below the line:",
                    memory.updates_table(findings, task),
                )
            )
    parts = _section(
        "1. How far back does it remember?",
        memory.sentences(findings),
        figures.get("memory"),
        *tables,
    )
    if found := images.sentences(findings):
        parts += ["### Digits, one pixel a step", " ".join(found)]
        if "images" in figures:
            parts.append(f"![Digits, one pixel a step]({figures['images']})")
        parts.append(images.table(findings).markdown())
    return parts


def _flow(findings: Findings, figures: Mapping[str, str]) -> list[str]:
    return _section(
        "2. Where do gradients go?",
        flow.sentences(findings),
        figures.get("flow"),
        (
            f"The adding problem of T = {findings.plan.gradient_length}, geometric mean over the"
            " seeds; c is the LSTM's cell.",
            flow.table(findings),
        ),
        (
            "The same task with gradients clipped to a norm of 1 and as they are:",
            flow.clipping_table(findings),
        ),
    )


def _cost(findings: Findings, figures: Mapping[str, str]) -> list[str]:
    if not findings.architecture_costs:
        return []
    return [
        *_section(
            "3. What does it cost to serve?",
            cost.sentences(findings),
            figures.get("cost"),
            (
                "The language models below, exported and run by the server's own runner, one"
                " thread.",
                cost.table(findings),
            ),
            ("One session's next token:", cost.history_table(findings)),
            ("Attention by its window:", cost.window_table(findings)),
        ),
        cost.why_attention_is_flat(findings),
    ]


def _choice(findings: Findings) -> list[str]:
    if not choice.needs(findings):
        return []
    return _section(
        "4. When is which one the right choice?",
        choice.sentences(findings),
        None,
        ("", choice.table(findings)),
        (
            "The same by architecture:",
            choice.summary(findings),
        ),
    )


def _language(findings: Findings, figures: Mapping[str, str]) -> list[str]:
    tables = [
        (
            "" if task == CHARACTERS else "The given text:",
            language.readme_table(findings, task),
        )
        for task in (CHARACTERS, FILE)
        if findings.variants(task)
    ]
    return _section(
        "Language modelling", language.sentences(findings), figures.get("language"), *tables
    )


def _published(findings: Findings) -> list[str]:
    table = published.table(findings)
    if not table.rows:
        return []
    return [
        "## Beside the published table",
        "Bai, Kolter & Koltun 2018, Table 1. An order counts where two figures differ by more than"
        " 1 %.",
        table.markdown(),
        "\n".join(f"- {reason}" for reason in published.reasons(findings)),
    ]


def _expected(findings: Findings) -> list[str]:
    found = expected.sentences(findings)
    return ["## What was expected", "\n".join(f"- {one}" for one in found)] if found else []
