"""What was expected of a study of the default size before the first one was run, and what came."""

from __future__ import annotations

from rnnserve_models.study.findings import Findings, title
from rnnserve_models.study.report.markdown import listed, number

ADDING_LENGTH = 200
NEAR = 0.8
"""Above this part of the baseline a loss is near it."""


def sentences(findings: Findings) -> list[str]:
    """Whether it came so; nothing about what wasn't run."""
    return [*_adding(findings), *_copying(findings)]


def _adding(findings: Findings) -> list[str]:
    ends = {
        name: loss.middle
        for name in ("rnn", "lstm", "gru")
        if (loss := findings.loss("adding", ADDING_LENGTH, name)) is not None
    }
    if len(ends) < 3:
        return []
    gated = any(findings.solved("adding", ADDING_LENGTH, name) for name in ("lstm", "gru"))
    plain = ends["rnn"] > NEAR * findings.baseline("adding", ADDING_LENGTH)
    found = ", ".join(f"{title(name)} {number(loss)}" for name, loss in ends.items())
    return [
        f"LSTM or GRU solves the adding problem at T = {ADDING_LENGTH} where the RNN stays near"
        f" 1/6: **{_verdict(gated and plain)}** (MSE: {found})."
    ]


def _copying(findings: Findings) -> list[str]:
    lengths = findings.lengths("copy")
    known = findings.variants("copy")
    if not {"lstm", "tcn", "attention"} <= set(known):
        return []
    apart = [
        T
        for T in lengths
        if not findings.solved("copy", T, "lstm")
        and any(findings.solved("copy", T, name) for name in ("tcn", "attention"))
    ]
    at = apart or lengths[-1:]
    found = ", ".join(
        f"{title(name)} {number(loss.middle)}"
        for name in ("lstm", "tcn", "attention")
        if (loss := findings.loss("copy", at[-1], name)) is not None
    )
    where = f"at T = {listed([str(T) for T in apart])}" if apart else "at no length"
    return [
        f"TCN or attention solves copy memory at a length where LSTM does not:"
        f" **{_verdict(bool(apart))}**, {where} (loss at T = {at[-1]}: {found}; baseline"
        f" {number(findings.baseline('copy', at[-1]))})."
    ]


def _verdict(came: bool) -> str:
    return "it came so" if came else "this run contradicts it"
