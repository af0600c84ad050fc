"""The proof that a foreign graph, read as it was, can be served; without it nothing is published.

Nobody knows what the graph should compute. What a server needs of it can be held against itself:

    any chunks                  a message cut anywhere gives what it gives whole
    the same again              the same numbers, to the bit
    zeros in                    finite numbers of the promised shapes out
    any company                 a row among others gives what it gives alone, step after step

Where chunks disagree, each step is a run of its own; where rows influence each other, they run one
at a time; the other two stop an import.

Tolerance: 1e-4 (1e-2 for FP16), relative to values larger than one and absolute for others; none
for integers. A batch of another size is another order of additions.
"""

import math
from dataclasses import dataclass, replace

from rnnserve.repository.spec import ModelSpec
from rnnserve_export.foreign.errors import Disproved
from rnnserve_export.foreign.running import load
from rnnserve_export.foreign.serving import without_time
from rnnserve_export.foreign.trials import CHUNKS, Check, OnRun, Trials


@dataclass(frozen=True)
class Proof:
    """What may be served, and the checks that say so."""

    spec: ModelSpec
    checks: tuple[Check, ...]


def prove(spec: ModelSpec, graph: bytes, length: int, on_run: OnRun = lambda name: None) -> Proof:
    """Hold the graph against itself. `length` is one that it takes for free dimensions.

    Returns the spec as far as it holds. Raises Disproved.
    """
    checks = []
    if spec.has_time:
        checks.append(chunks := _chunks(spec, graph, length, on_run))
        if not chunks.holds:
            spec = without_time(spec)
    trials = Trials(spec, load(spec, graph), length, on_run)
    checks += [_required(trials.same_again()), _required(trials.zeros_in())]
    if spec.has_rows and spec.max_batch > 1:
        checks.append(company := trials.any_company())
        if not company.holds:
            spec = replace(spec, max_batch=1)
    return Proof(spec, tuple(checks))


def _chunks(spec: ModelSpec, graph: bytes, length: int, on_run: OnRun) -> Check:
    try:
        return Trials(spec, load(spec, graph), length, on_run).any_chunks()
    except Disproved as error:
        # Not with time, that is: as one message after the other it may still go.
        return Check(CHUNKS, "messages of any length", math.inf, 0.0, str(error))


def _required(check: Check) -> Check:
    if not check.holds:
        raise Disproved(f"{check.name!r} doesn't hold: {check.reason}")
    return check
