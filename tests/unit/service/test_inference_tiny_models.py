"""The protocol over real graphs with known answers: what a Triton repository says is what is served."""

import numpy as np
import pytest

import tiny_models as tiny
from rnnserve.triton import grpc_service_pb2 as wire
from unit.service.inference_calls import Calls, output, request


@pytest.mark.parametrize(
    "shape",
    [[1, 0, 2**62], [1, 2**62, 0], [1, 0, 2**31], [0, 2**31, 0], [1, 2**31, 2**31], [1, -1, 0]],
)
def test_dimensions_that_no_array_can_have_are_refused_though_they_hold_nothing(shape):
    calls = Calls(tiny.table())
    asked = request("table", {"x": np.zeros((1, 0, 0), np.float32)})
    asked.inputs[0].ClearField("shape")
    asked.inputs[0].shape.extend(shape)
    assert calls.refusal(asked)[0] == "wrong_shape"
    reply = calls.ask(request("table", {"x": np.zeros((1, 0, 7), np.float32)}))
    assert isinstance(reply, wire.ModelInferResponse)
    assert output(reply).shape == (1, 0, 7)
