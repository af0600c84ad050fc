"""A model tried out before it serves: what its runs cost, and that they give what it promises."""

import time

import numpy as np

from rnnserve.engine.costs import Costs, measure
from rnnserve.engine.model import Run
from rnnserve.engine.shapes import check_shapes
from rnnserve.repository.spec import ModelSpec


def costs_of(
    spec: ModelSpec, run: Run, *, max_rows: int, max_block_steps: int, max_block_s: float
) -> Costs:
    """Run zeros (or the least values allowed) through the model and time it.

    Raises whatever the runner raises, and ValueError where its arrays aren't as the spec says.
    """

    def run_once(rows: int, steps: int) -> float:
        carry = tuple(np.zeros((rows, *c.shape), c.dtype) for c in spec.carry)
        inputs = tuple(np.full((rows, steps, *t.shape), t.low or 0, t.dtype) for t in spec.inputs)
        began_s = time.perf_counter()
        found = run(carry, inputs)
        taken_s = time.perf_counter() - began_s
        check_shapes(spec, rows, steps, *found)
        return taken_s

    # Blocks of several steps, before anything is timed: a graph may promise one step and give two.
    for rows in {1, min(2, max_rows)}:
        run_once(rows, min(2, max_block_steps))
    return measure(run_once, max_rows, max_block_steps, max_block_s=max_block_s)
