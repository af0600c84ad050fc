"""The proof that a foreign graph, read as it was, can be served; without it nothing is published.

Nobody knows what the graph should compute. What a server needs of it can be held against itself:

    the same again              the same numbers, to the bit
    zeros in                    finite numbers of the promised shapes out, for one row and for more
    any chunks                  a message cut anywhere gives what it gives whole
    any company                 a row among others gives what it gives alone, step after step

The first two stop an import. Where chunks disagree, a message is one run; where rows influence each
other, they run one at a time.

Tolerance: 1e-4 (1e-2 for FP16), relative to values larger than one and absolute for others; none
for integers. A batch of another size is another order of additions.
"""

from dataclasses import dataclass, replace

from rnnserve.repository.spec import ModelSpec
from rnnserve_export.foreign.errors import Disproved
from rnnserve_export.foreign.running import load
from rnnserve_export.foreign.serving import without_time
from rnnserve_export.foreign.trials import Check, OnRun, Trials


@dataclass(frozen=True)
class Proof:
    """What may be served, and the checks that say so."""

    spec: ModelSpec
    checks: tuple[Check, ...]


def prove(spec: ModelSpec, graph: bytes, length: int, on_run: OnRun = lambda name: None) -> Proof:
    """Hold the graph against itself. `length` is one that it takes for free dimensions.

    Returns the spec as far as it holds. Raises Disproved.
    """
    trials = Trials(spec, load(spec, graph), length, on_run)
    checks = [_required(trials.same_again())]
    if spec.has_time:
        checks.append(chunks := trials.any_chunks())
        if not chunks.holds:
            spec = without_time(spec)
            trials = Trials(spec, load(spec, graph), length, on_run)
    checks.append(_required(trials.zeros_in()))
    if spec.has_rows and spec.max_batch > 1:
        checks.append(company := trials.any_company())
        if not company.holds:
            spec = replace(spec, max_batch=1)
    return Proof(spec, tuple(checks))


def _required(check: Check) -> Check:
    if not check.holds:
        raise Disproved(f"{check.name!r} doesn't hold: {check.reason}; nothing was published")
    return check
