"""The proof that a graph computes what was trained; without it nothing is published.

Each check asks torch (float32, eval) and the graph (in onnxruntime, set up as when serving) the
same and compares logits and carry. The last one compares the graph to the golden vectors, which
come from plain NumPy in float64.

Tolerance: 1e-4, relative to values larger than one and absolute for others. A network may amplify
rounding from step to step, and then two right answers part: so where torch in float32 is itself
off from torch in float64, four times that distance is allowed. It depends on the trained weights
alone, so a wrong graph can't widen it.
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np
import torch

from rnnserve.repository.spec import ModelSpec
from rnnserve_export.cases import Case, cases
from rnnserve_export.errors import ProofFailed
from rnnserve_export.golden import Golden
from rnnserve_export.parity import (
    Compute,
    Difference,
    difference,
    graph_answers,
    in_chunks,
    one_torch_thread,
    torch_answers,
)
from rnnserve_models.language_model import LanguageModel

TOLERANCE = 1e-4
ROUNDING_FACTOR = 4.0
GOLDEN_CHECK = "golden vectors (NumPy, float64)"

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
            "tolerance_rule": f"{TOLERANCE:g}, or {ROUNDING_FACTOR:g} times torch's float32 from "
            "its own float64 where that is more; relative to values larger than one",
            "made_with": {name: version(name) for name in ("torch", "onnx", "onnxruntime")},
        }
        return json.dumps(contents, indent=2) + "\n"


@one_torch_thread()
def prove(
    model: LanguageModel,
    spec: ModelSpec,
    graph: bytes,
    text: np.ndarray,
    golden: Golden,
    on_steps: OnSteps = lambda name, done, total: None,
) -> Proof:
    """Hold `graph` against `model`; `text` (K,) are tokens as the model will meet them.

    Raises ProofFailed at the first check that fails, with its figure and its tolerance;
    ModelProblem when the graph doesn't fit `spec` or onnxruntime doesn't take it.
    """
    found = graph_answers(spec, graph)
    single, double = torch_answers(model), torch_answers(model, torch.float64)
    plan = cases(spec, text)
    total = sum(case.steps for group in plan.values() for case in group)
    done, checks = 0, []
    for name, group in plan.items():
        results = []
        for case in group:

            def on_chunk(steps: int, name: str = name) -> None:
                nonlocal done
                done += steps
                on_steps(name, done, total)

            results.append(_compare(name, case, found, single, double, on_chunk))
        checks.append(_passed(results))
    checks.append(_passed([_compare_golden(golden, found, single)]))
    return Proof(hashlib.sha256(graph).hexdigest(), tuple(checks))


def _compare(
    name: str,
    case: Case,
    found: Compute,
    single: Compute,
    double: Compute,
    on_chunk: Callable[[int], None],
) -> Check:
    expected = single(case.carry, case.tokens)
    rounding = difference(expected, double(case.carry, case.tokens))
    answer = in_chunks(found, case.carry, case.tokens, case.chunks, on_chunk)
    return _check(name, str(case), difference(answer, expected), rounding)


def _compare_golden(golden: Golden, found: Compute, single: Compute) -> Check:
    rounding = difference(single(golden.carry, golden.tokens), golden.answer)
    off = difference(found(golden.carry, golden.tokens), golden.answer)
    return _check(GOLDEN_CHECK, "{} rows, {} steps".format(*golden.tokens.shape), off, rounding)


def _check(name: str, case: str, off: Difference, rounding: Difference) -> Check:
    tolerance = max(TOLERANCE, ROUNDING_FACTOR * rounding.relative)
    return Check(name, case, off.absolute, off.relative, tolerance)


def _passed(results: list[Check]) -> Check:
    worst = max(results, key=lambda check: check.share)
    if worst.share > 1:
        raise ProofFailed(
            f"the graph doesn't compute what was trained: {worst.name!r} ({worst.case}) is off by "
            f"{worst.relative_error:.2g} (absolute {worst.absolute_error:.2g}), at most "
            f"{worst.tolerance:.2g} is allowed; nothing was published"
        )
    return worst
