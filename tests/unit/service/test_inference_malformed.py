"""Whatever a client sends: a proper status, nothing touched, and no neighbour harmed."""

from functools import partial

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tiny_models as tiny
from plain_models import POISON, doubling_model, marked_model, memory_model
from rnnserve.errors import Reason, Refusal
from rnnserve.triton import grpc_service_pb2 as wire
from rnnserve.wire.inference.texts import code_of
from small_models import small_model
from unit.service.inference_calls import Calls, output, request
from unit.service.malformed_requests import good, requests, spoiled

TINY = {model.name: model for model in tiny.all_of_them()}
MODELS = {
    "marked_plain": marked_model,
    "memory": memory_model,
    "double": doubling_model,
    "lstm1": partial(small_model, "lstm", 1),
    **{name: lambda model=model: model for name, model in TINY.items()},
}
SPECS = {name: made().spec for name, made in MODELS.items()}
CALLERS_FAULT = {
    *("INVALID_ARGUMENT", "NOT_FOUND", "UNIMPLEMENTED", "FAILED_PRECONDITION"),
    *("OUT_OF_RANGE", "UNAVAILABLE"),
}
MAY_FAIL = {"fragile": Reason.MODEL_FAILED}
"""A value that only the graph knows to be wrong."""
NEIGHBOUR = 10**12


def check(name: str, outcome: object) -> None:
    """It is a reply, or a refusal that says whose fault it is, in a header's length."""
    if isinstance(outcome, wire.ModelInferResponse):
        assert len(outcome.outputs) == len(outcome.raw_output_contents)
        return
    assert isinstance(outcome, Refusal), outcome
    is_proper = code_of(outcome.reason).name in CALLERS_FAULT
    assert is_proper or outcome.reason is MAY_FAIL.get(name), outcome
    assert outcome.message.isascii()
    assert len(outcome.message) < 2000


@pytest.mark.parametrize("name", MODELS)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_whatever_comes_is_answered_properly_and_harms_nobody(name, data):
    spec = SPECS[name]
    bad = st.lists(spoiled(spec) | requests([spec.name]), min_size=1, max_size=4)
    calls, alone = Calls(MODELS[name]()), Calls(MODELS[name]())
    first, then = (good(spec, NEIGHBOUR, starts=starts) for starts in (True, False))
    want = [alone.ask(first), alone.ask(then)]
    got = [calls.ask(first)]
    told = [calls.send(asked) for asked in data.draw(bad)]
    got.append(calls.ask(then))
    for outcomes in told:
        (outcome,) = outcomes
        check(name, outcome)
    assert got == want
    assert isinstance(got[1], wire.ModelInferResponse)
    assert calls.engine.audit() == []


@given(st.lists(st.sampled_from([1.0, 2.0, POISON]), min_size=2, max_size=8))
def test_rows_that_the_model_fails_on_fail_alone(values):
    calls = Calls(doubling_model())
    told = [
        calls.send(request("double", {"x": np.array([[value]], np.float32)})) for value in values
    ]
    calls.engine.run_all()
    for value, (outcome,) in zip(values, told, strict=True):
        if value == POISON:
            assert str(outcome.reason) == "model_failed"
        else:
            assert output(outcome)[0, 0] == 2 * value
    assert calls.engine.audit() == []
