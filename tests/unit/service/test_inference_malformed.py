"""Whatever a client sends: a proper status, nothing touched, and no neighbour harmed."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plain_models import POISON, doubling_model, marked_model, memory_model
from rnnserve.errors import Refusal
from rnnserve.triton import grpc_service_pb2 as wire
from rnnserve.wire.inference.datatypes import NAMES
from rnnserve.wire.inference.texts import code_of
from small_models import small_model
from unit.service.inference_calls import Calls, goes_on, output, request, start

MODELS = {
    "marked": (marked_model, {"x": np.ones((1, 1), np.float32)}),
    "memory": (memory_model, {"x": np.ones((1, 3), np.float32)}),
    "double": (doubling_model, {"x": np.ones((2, 3), np.float32)}),
    "lstm1": (lambda: small_model("lstm", 1), {"tokens": np.array([[1, 2]])}),
}
CALLERS_FAULT = {
    *("INVALID_ARGUMENT", "NOT_FOUND", "UNIMPLEMENTED", "FAILED_PRECONDITION"),
    *("OUT_OF_RANGE", "UNAVAILABLE"),
}

names = st.sampled_from(["x", "tokens", "y", "", "X", "x" * 300, "\x00", "ü"])
dims = st.sampled_from([0, 1, 2, 3, -1, -5, 2**31, 2**62, -(2**63)]) | st.integers(0, 9)
shapes = st.lists(dims, max_size=5)
datatypes = st.sampled_from([*NAMES.values(), "", "FLOAT", "fp32", "\x01"])
memory = st.binary(max_size=40) | st.sampled_from([4, 8, 12, 16, 24]).map(bytes)
values = st.one_of(
    st.booleans().map(lambda v: wire.InferParameter(bool_param=v)),
    st.integers(-(2**63), 2**63 - 1).map(lambda v: wire.InferParameter(int64_param=v)),
    st.integers(0, 2**64 - 1).map(lambda v: wire.InferParameter(uint64_param=v)),
    st.sampled_from([0.0, -1.5, 1e300]).map(lambda v: wire.InferParameter(double_param=v)),
    st.text(max_size=5).map(lambda v: wire.InferParameter(string_param=v)),
    st.just(wire.InferParameter()),
)
keys = st.sampled_from(
    [
        *("sequence_id", "sequence_start", "sequence_end", "timeout", "priority", "mine", ""),
        *("triton_enable_empty_final_response", "triton_x", "shared_memory_region"),
    ]
)
contents = st.builds(
    wire.InferTensorContents,
    bool_contents=st.lists(st.booleans(), max_size=2),
    int_contents=st.lists(st.integers(-(2**31), 2**31 - 1), max_size=2),
    int64_contents=st.lists(st.integers(-(2**63), 2**63 - 1), max_size=2),
    uint_contents=st.lists(st.integers(0, 2**32 - 1), max_size=2),
    fp32_contents=st.lists(st.sampled_from([0.0, 1.0, float("nan")]), max_size=2),
    bytes_contents=st.lists(st.binary(max_size=3), max_size=2),
)
tensors = st.builds(
    wire.ModelInferRequest.InferInputTensor,
    name=names.filter(lambda name: "\x00" not in name),
    datatype=datatypes,
    shape=shapes,
    parameters=st.dictionaries(keys, values, max_size=1),
    contents=st.none() | contents,
)
requests = st.builds(
    wire.ModelInferRequest,
    model_name=st.sampled_from([*MODELS, "nobody", "", "../etc"]),
    model_version=st.sampled_from(["", "1", "2", "x", "-1", "1" * 30]),
    id=st.sampled_from(["", "id", "ü\n", "i" * 5000]),
    parameters=st.dictionaries(keys, values, max_size=4),
    inputs=st.lists(tensors, max_size=3),
    outputs=st.lists(
        st.builds(wire.ModelInferRequest.InferRequestedOutputTensor, name=names), max_size=2
    ),
    raw_input_contents=st.lists(memory, max_size=3),
)


@st.composite
def nearly_right(draw: st.DrawFn) -> wire.ModelInferRequest:
    """A good request with one or two things wrong with it."""
    name = draw(st.sampled_from(list(MODELS)))
    made = start(name, MODELS[name][1], draw(st.integers(1, 3)))
    for _ in range(draw(st.integers(1, 2))):
        tensor = made.inputs[0]
        match draw(st.integers(0, 8)):
            case 0:
                tensor.name = draw(names)
            case 1:
                tensor.datatype = draw(datatypes)
            case 2:
                tensor.ClearField("shape")
                tensor.shape.extend(draw(shapes))
            case 3:
                made.raw_input_contents[0] = draw(memory)
            case 4:
                made.parameters[draw(keys)].CopyFrom(draw(values))
            case 5:
                made.inputs.append(draw(tensors))
            case 6:
                tensor.contents.CopyFrom(draw(contents))
                if draw(st.booleans()):
                    made.ClearField("raw_input_contents")
                    made.raw_input_contents.append(b"")
                    made.ClearField("raw_input_contents")
            case 7:
                made.outputs.add(name=draw(names))
            case 8:
                made.raw_input_contents.append(draw(memory))
        if not made.raw_input_contents:
            made.ClearField("raw_input_contents")
            break
    return made


@pytest.mark.parametrize("name", MODELS)
@settings(max_examples=700, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(bad=st.lists(requests | nearly_right(), min_size=1, max_size=3))
def test_whatever_comes_is_answered_properly_and_harms_nobody(name, bad):
    model, inputs = MODELS[name]
    calls = Calls(model())
    neighbour = 10**12
    first = start if calls.spec.is_sequential else request
    then = goes_on if calls.spec.is_sequential else request
    number = (neighbour,) if calls.spec.is_sequential else ()
    alone = Calls(model())
    want = [alone.ask(first(name, inputs, *number)), alone.ask(then(name, inputs, *number))]
    got = [calls.ask(first(name, inputs, *number))]
    for one in bad:
        outcome = calls.send(one)
        if outcome and isinstance(outcome[0], Exception):
            refusal = outcome[0]
            assert isinstance(refusal, Refusal), refusal
            assert code_of(refusal.reason).name in CALLERS_FAULT, refusal
            assert refusal.message.isascii()
            assert len(refusal.message) < 2000
    got.append(calls.ask(then(name, inputs, *number)))
    for mine, his in zip(got, want, strict=True):
        assert output(mine).tolist() == output(his).tolist()
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
