"""The proof that a graph computes what the module computes; without it nothing is published.

Each check asks torch (in eval mode) and the graph (in onnxruntime, set up as when serving) the same
and compares outputs and carry. The last one compares the graph to the golden vectors.

Tolerance: 1e-4, relative to values larger than one and absolute for others. A network may amplify
rounding from step to step, and then two right answers part: so where torch is itself off from torch
in float64, four times that distance is allowed, the largest in a check's cases of as many steps. It
depends on the module alone, so a wrong graph can't widen it. A module that can't be computed in
float64 gets no more than 1e-4.
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np

from rnnserve_export.cases import Case, cases
from rnnserve_export.errors import ProofFailed
from rnnserve_export.feed import Feed, Reached, zero_carry
from rnnserve_export.golden import Golden
from rnnserve_export.parity import (
    Answer,
    Compute,
    Difference,
    difference,
    graph_answers,
    in_chunks,
    one_torch_thread,
    rounding,
    row_by_row,
    row_count,
    step_count,
    torch_answers,
)
from rnnserve_export.torch_model import TorchModel

TOLERANCE = 1e-4
ROUNDING_FACTOR = 4.0
GOLDEN_CHECK = "golden vectors"
MADE_WITH = ("torch", "onnx", "onnxscript", "onnxruntime")

OnSteps = Callable[[str, int, int], None]
"""Hears the check's name, the steps done so far in the whole proof, and the steps in all."""


@dataclass(frozen=True)
class Check:
    """The case of one check that came nearest to its tolerance, or went farthest beyond."""

    name: str
    case: str
    absolute_error: float
    relative_error: float
    """Divided by the expected value where that is larger than one; held against the tolerance."""
    tolerance: float

    @property
    def share(self) -> float:
        """The part of the tolerance used up: a check passes up to 1."""
        # Weights that aren't finite make both figures infinite.
        if not (np.isfinite(self.relative_error) and np.isfinite(self.tolerance)):
            return np.inf
        return self.relative_error / self.tolerance


@dataclass(frozen=True)
class Proof:
    """Checks that all passed, for one graph."""

    graph_sha256: str
    checks: tuple[Check, ...]

    def to_json(self) -> str:
        """`proof.json`: the checks, and what they were made with."""
        contents = dataclasses.asdict(self) | {
            "tolerance_rule": f"{TOLERANCE:g}, or {ROUNDING_FACTOR:g} times torch's distance from "
            "its own float64 where that is more; relative to values larger than one",
            "made_with": {name: version(name) for name in MADE_WITH},
        }
        return json.dumps(contents, indent=2) + "\n"


@one_torch_thread()
def prove(
    model: TorchModel,
    graph: bytes,
    feed: Feed,
    golden: Golden,
    on_steps: OnSteps = lambda name, done, total: None,
) -> Proof:
    """Hold `graph` against `model`; both are as `feed.spec` says.

    Raises ProofFailed at the first check that fails, with its figure and its tolerance;
    ModelProblem when the graph doesn't fit the spec or onnxruntime doesn't take it.
    """
    found = graph_answers(feed.spec, graph)
    single, double = torch_answers(model), double_answers(model, feed)
    reached = Reached(single, feed, np.random.default_rng(0))
    plan = cases(feed, reached)
    total = sum(case.steps for group in plan.values() for case in group)
    done, checks = 0, []
    for name, group in plan.items():

        def on_chunk(steps: int, name: str = name) -> None:
            nonlocal done
            done += steps
            on_steps(name, done, total)

        asked = [_ask(case, single, double) for case in group]
        checks.append(_passed([_compare(name, a, asked, found, on_chunk) for a in asked]))
    checks.append(_passed([_compare_golden(golden, found, single)]))
    return Proof(hashlib.sha256(graph).hexdigest(), tuple(checks))


def double_answers(model: TorchModel, feed: Feed) -> Compute | None:
    """The module in float64; None where it makes numbers of another type itself."""
    compute = torch_answers(model, in_double=True)
    try:
        compute(zero_carry(feed.spec, 1), feed.as_met(1, 1))
    except (RuntimeError, TypeError):  # torch mixes no types
        return None
    return compute


@dataclass(frozen=True)
class _Asked:
    """What torch answered to a case."""

    case: Case
    expected: Answer
    off: Difference
    """From torch in float64."""


def _ask(case: Case, single: Compute, double: Compute | None) -> _Asked:
    answer = row_by_row(single) if case.is_company else single
    expected = answer(case.carry, case.inputs)
    off = Difference(0.0, 0.0)
    if double is not None:
        off = rounding(expected, double(case.carry, case.inputs))
    return _Asked(case, expected, off)


def _compare(
    name: str,
    asked: _Asked,
    group: list[_Asked],
    found: Compute,
    on_chunk: Callable[[int], None],
) -> Check:
    case, off = asked.case, asked.off
    for other in group:
        if other.case.steps == case.steps:
            off |= other.off
    try:
        answer = in_chunks(found, case.carry, case.inputs, case.chunks, on_chunk)
    except Exception as error:  # onnxruntime's exceptions share no narrower base
        raise ProofFailed(
            f"the graph fails where the module doesn't: {name!r} ({case}): "
            f"{' '.join(str(error).split())[:300]}; nothing was published"
        ) from error
    return _check(name, str(case), difference(answer, asked.expected), off)


def _compare_golden(golden: Golden, found: Compute, single: Compute) -> Check:
    off = rounding(single(golden.carry, golden.inputs), golden.answer)
    answer = found(golden.carry, golden.inputs)
    case = f"{row_count(golden.inputs)} rows, {step_count(golden.inputs)} steps"
    return _check(f"{GOLDEN_CHECK} ({golden.source})", case, difference(answer, golden.answer), off)


def _check(name: str, case: str, error: Difference, off: Difference) -> Check:
    """`off`: how far torch is from itself in float64."""
    tolerance = max(TOLERANCE, ROUNDING_FACTOR * off.relative)
    return Check(name, case, error.absolute, error.relative, tolerance)


def _passed(results: list[Check]) -> Check:
    worst = max(results, key=lambda check: check.share)
    if worst.share > 1:
        raise ProofFailed(
            f"the graph doesn't compute what the module does: {worst.name!r} ({worst.case}) is off "
            f"by {worst.relative_error:.2g} (absolute {worst.absolute_error:.2g}), at most "
            f"{worst.tolerance:.2g} is allowed; nothing was published"
        )
    return worst
