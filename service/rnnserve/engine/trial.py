"""A model tried out before it serves: what its runs cost, and that they give what it promises."""

import time

import numpy as np

from rnnserve.engine.costs import Costs, measure
from rnnserve.engine.draw import Draws, draw
from rnnserve.engine.model import Run
from rnnserve.engine.sampling import Sampling
from rnnserve.engine.shapes import Shapes
from rnnserve.repository.spec import ModelSpec

DRAWN_ROWS, DRAWN_TIMES = 8, 3


def costs_of(
    spec: ModelSpec, run: Run, *, max_rows: int, max_block_steps: int, max_block_s: float
) -> Costs:
    """Run zeros (or the least values allowed) through the model and time it.

    Raises whatever the runner raises, and ValueError where its arrays aren't as the spec says.
    """

    shapes = Shapes(spec)

    def run_once(rows: int, steps: int) -> float:
        carry = tuple(np.zeros((rows, *c.shape), c.dtype) for c in spec.carry)
        inputs = tuple(np.full((rows, steps, *t.shape), t.low or 0, t.dtype) for t in spec.inputs)
        began_s = time.perf_counter()
        found = run(carry, inputs)
        taken_s = time.perf_counter() - began_s
        shapes.check(rows, steps, *found)
        return taken_s

    # Blocks of several steps, before anything is timed: a graph may promise one step and give two.
    for rows in {1, min(2, max_rows)}:
        run_once(rows, min(2, max_block_steps))
    return measure(run_once, max_rows, max_block_steps, max_block_s=max_block_s)


def drawing_of(spec: ModelSpec) -> float:
    """Seconds that drawing one token takes at the most: of all scores, by the dearest way.

    0.0 for a model that doesn't predict tokens.
    """
    if not spec.predicts_tokens:
        return 0.0
    vocabulary = spec.outputs[0].shape[-1]
    rows = [Draws(Sampling(seed=row, top_p=0.9), vocabulary) for row in range(DRAWN_ROWS)]
    scores = np.random.default_rng(0).standard_normal((DRAWN_ROWS, vocabulary), np.float32)
    times_s = []
    for _ in range(DRAWN_TIMES):
        began_s = time.perf_counter()
        draw(rows, scores)
        times_s.append(time.perf_counter() - began_s)
    return min(times_s) / DRAWN_ROWS
