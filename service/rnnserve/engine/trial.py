"""A model tried out before it serves: what its runs cost, and that they give what it promises."""

import logging
import time

import numpy as np

from rnnserve.engine import initial
from rnnserve.engine.costs import Costs, measure
from rnnserve.engine.draw import Draws, draw
from rnnserve.engine.model import Run
from rnnserve.engine.sampling import Sampling
from rnnserve.engine.shapes import Shapes
from rnnserve.engine.slots import Rows
from rnnserve.repository.spec import FREE, ModelSpec

logger = logging.getLogger(__name__)

TRIED_DIMENSIONS = (1, 2, 16, 128)
DRAWN_ROWS, DRAWN_TIMES = 8, 3


def costs_of(
    spec: ModelSpec, run: Run, *, max_rows: int, max_block_steps: int, max_block_s: float
) -> Costs:
    """Run zeros (or the least values allowed) through a regular model and time it.

    Raises whatever the runner raises, and ValueError where its arrays aren't as the spec says.
    """
    shapes = Shapes(spec)
    longest = max_block_steps if spec.has_time else 1

    def run_once(rows: int, steps: int) -> float:
        carry, inputs = sample(spec, rows, steps)
        began_s = time.perf_counter()
        found = run(carry, inputs)
        taken_s = time.perf_counter() - began_s
        shapes.check(rows, steps, *found)
        return taken_s

    # Blocks of several steps, before anything is timed: a graph may promise one step and give two.
    for rows in {1, min(2, max_rows)}:
        run_once(rows, min(2, longest))
    return measure(run_once, max_rows, longest, max_block_s=max_block_s)


def try_shapes(spec: ModelSpec, run: Run) -> bool:
    """Whether a model whose messages bring their shapes takes zeros of some size; what it gives for
    them has to be as the spec says.

    Raises ValueError where it isn't. That no size is taken proves nothing: an input may have to be
    of a certain length, or text of a certain kind.
    """
    shapes = Shapes(spec)
    for free in TRIED_DIMENSIONS:
        try:
            found = run(*sample(spec, 1, 1, free))
        except Exception:
            logger.debug("%s doesn't take dimensions of %d", spec.name, free, exc_info=True)
            continue
        shapes.check(1, 1, *found)
        return True
    return False


def sample(spec: ModelSpec, rows: int, steps: int, free: int = 1) -> tuple[Rows, Rows]:
    """A carry at its beginning, each (B, ...), and the least inputs, each (B, T, ...), with the
    control inputs behind them, each (B,). Free dimensions are `free`."""
    carry = tuple(np.stack([array] * rows) for array in initial.beginning(spec))
    inputs = tuple(
        np.full(
            (rows, steps, *(free if dim == FREE else dim for dim in tensor.shape)),
            "" if tensor.dtype.kind == "O" else tensor.low or 0,
            tensor.dtype,
        )
        for tensor in spec.inputs
    )
    marks = tuple(
        np.full(rows, "" if control.dtype.kind == "O" else control.yes, control.dtype)
        for control in spec.controls
    )
    return carry, inputs + marks


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
