"""A graph and its config.pbtxt are held against each other when the model loads."""

from dataclasses import replace

import numpy as np
import pytest

from rnnserve.engine.runner import Runner
from rnnserve.errors import ModelProblem
from small_models import small_model

MODEL = small_model("lstm", 1)
(TOKENS,), (LOGITS,), (H, C) = MODEL.spec.inputs, MODEL.spec.outputs, MODEL.spec.carry


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"inputs": (replace(TOKENS, name="ids"),)}, "'ids'"),
        ({"inputs": (replace(TOKENS, dtype=np.dtype(np.int32)),)}, "'tokens' is tensor"),
        ({"inputs": (replace(TOKENS, shape=(3,)),)}, "'tokens' has the shape"),
        ({"outputs": (replace(LOGITS, shape=(5,)),)}, "'logits' has the shape"),
        ({"carry": (H,)}, "c0"),
        ({"carry": (H, replace(C, output_name="nothing"))}, "'nothing'"),
        ({"carry": (H, replace(C, shape=(99,)))}, "'c0' has the shape"),
        ({"carry": (H, replace(C, dtype=np.dtype(np.float64)))}, "'c0' is tensor"),
    ],
)
def test_a_mismatch_names_the_tensor(change, named):
    with pytest.raises(ModelProblem, match=named):
        Runner(replace(MODEL.spec, **change), MODEL.graph)


@pytest.mark.parametrize("graph", [b"", b"nonsense", MODEL.graph[:-100]])
def test_a_damaged_graph_is_a_problem_of_that_model(graph):
    with pytest.raises(ModelProblem, match="lstm1/1"):
        Runner(MODEL.spec, graph)


def test_the_runner_remembers_nothing():
    runner = MODEL.runner()
    carry = tuple(np.zeros((2, *c.shape), c.dtype) for c in MODEL.spec.carry)
    tokens = (np.array([[1, 2], [3, 4]]),)
    once, again = runner.run(carry, tokens), runner.run(carry, tokens)
    for one, other in zip(once[0] + once[1], again[0] + again[1], strict=True):
        np.testing.assert_array_equal(one, other)
    assert not any(array.any() for array in carry)
