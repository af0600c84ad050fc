"""Tiny ONNX models whose answers can be worked out by hand, written as whole Triton repositories.

    accumulator(type)   y = the sum of all x so far; of BOOL, whether any was true
    remembering()       keeps all it was given: a state that grows; y = their sum
    marked()            the sum, which the graph itself begins anew at START, and what it was told
    counting()          the sum and the count; sorted by name, the states' outputs stand the other
                        way round than their inputs
    unbatched()         the sum; max_batch_size 0
    reshaped()          the sum; dims [ 1 ], and the graph has [N]
    timed()             the running sum of a chunk of T steps
    scaled()            the sum of factor * x; a session sets the factor once
    fragile()           the sum; any x from 100 on fails the whole run
    adder()             stateless: A + B and A - B
    text()              stateless: text as it came, of any length
    table()             stateless: numbers as they came, two free dimensions
    everything()        stateless: a tensor of every type, as it came

Each is a `TinyModel`: `write` lays it out in a repository, and `SynchronousEngine` takes it as it
is. Sequence models take x [1] a step and are called as their function.
"""

from tiny_models.parts import (
    DTYPES,
    ONNX_TYPES,
    OPSET,
    TinyModel,
    entries,
    graph_of,
    publish,
)
from tiny_models.sequences import (
    FIRST_FAILING,
    accumulator,
    counting,
    fragile,
    marked,
    remembering,
    reshaped,
    scaled,
    timed,
    unbatched,
)
from tiny_models.stateless import adder, everything, table, text

__all__ = [
    "DTYPES",
    "FIRST_FAILING",
    "ONNX_TYPES",
    "OPSET",
    "TinyModel",
    "accumulator",
    "adder",
    "all_of_them",
    "counting",
    "entries",
    "everything",
    "fragile",
    "graph_of",
    "marked",
    "publish",
    "remembering",
    "reshaped",
    "scaled",
    "table",
    "text",
    "timed",
    "unbatched",
]


def all_of_them() -> list[TinyModel]:
    """One of each kind, under names of their own."""
    sums = [accumulator(of) for of in ("FP32", "FP16", "INT64", "INT32", "BOOL")]
    sequential = [remembering(), marked(), counting(), unbatched(), reshaped(), timed(), scaled()]
    return [*sums, *sequential, fragile(), adder(), text(), table(), everything()]
