"""Bits per character against the characters learnt and against the time that took."""

from __future__ import annotations

import math

from matplotlib.figure import Figure

from rnnserve_models.study.figures.style import BASELINE, finish, legend, line_of, panels
from rnnserve_models.study.findings import Findings
from rnnserve_models.study.fit import CHARACTERS


def figure(findings: Findings) -> Figure | None:
    """The validation estimates of the first seed, on the default text."""
    names = findings.variants(CHARACTERS)
    if not names:
        return None
    drawn, found = panels(2)
    length = findings.lengths(CHARACTERS)[0]
    for name in names:
        result = findings.seeds(CHARACTERS, length, name)[0]
        steps = [point.step for point in result.curve]
        bits = [point.held_out_loss / math.log(2) for point in result.curve]
        characters = findings.plan.recipe.batch * length
        look = line_of(name) | {"markersize": 4}
        found[0].plot([step * characters / 1e6 for step in steps], bits, **look)
        found[1].plot([step * characters / result.inputs_per_s for step in steps], bits, **look)
    for axes in found:
        axes.axhline(
            findings.baseline(CHARACTERS, length) / math.log(2),
            label="frequencies alone",
            **BASELINE,
        )
    finish(found[0], "By what was learnt", "characters (millions)", "bits per character (estimate)")
    finish(found[1], "By time", "seconds of updates, one core", "bits per character (estimate)")
    legend(drawn, found)
    return drawn
