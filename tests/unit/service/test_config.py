"""config.pbtxt is read strictly, and written so that it reads the same."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnserve.errors import ModelProblem
from rnnserve.repository.config import format_config, parse_config
from rnnserve.repository.dtypes import NUMBERS
from rnnserve.repository.spec import CarrySpec, ModelSpec, TensorSpec

GOOD = """
name: "m"  backend: "onnxruntime"  max_batch_size: 8
input [ { name: "x" data_type: TYPE_FP32 dims: [ -1, 16 ] } ]
output [ { name: "y" data_type: TYPE_FP32 dims: -1 dims: 32 } ]  # both forms of a list
sequence_batching { oldest { max_candidate_sequences: 64 } state [
  { input_name: "h" output_name: "hn" data_type: TYPE_FP32 dims: [ 2, 32 ]
    initial_state: { name: "z" data_type: TYPE_FP32 dims: [ 2, 32 ] zero_data: true } } ] }
"""

RANGE = 'parameters {{ key: "input.{}.range" value {{ string_value: "{}" }} }} '

names = st.text("abcxyz_0123", min_size=1, max_size=8)
shapes = st.lists(st.integers(1, 9), max_size=3).map(tuple)
dtypes = st.sampled_from(sorted(NUMBERS, key=str))
ints = st.sampled_from([np.dtype(np.int64), np.dtype(np.int32), np.dtype(np.uint8)])
tensors = st.builds(TensorSpec, names, dtypes, shapes) | st.builds(
    TensorSpec, names, ints, shapes, st.integers(0, 5), st.integers(6, 99)
)


@given(
    inputs=st.lists(tensors, min_size=1, max_size=3, unique_by=lambda tensor: tensor.name),
    outputs=st.lists(st.builds(TensorSpec, names, dtypes, shapes), min_size=1, max_size=3),
    carry=st.lists(st.builds(CarrySpec, names, names, dtypes, shapes), max_size=4),
    max_batch=st.integers(1, 1024),
)
def test_what_is_written_reads_the_same(inputs, outputs, carry, max_batch):
    spec = ModelSpec("m", 3, max_batch, tuple(inputs), tuple(outputs), tuple(carry))
    assert parse_config(format_config(spec), "m", 3) == spec


def test_a_config_written_by_hand_is_understood():
    spec = parse_config(GOOD, "m", 1)
    assert spec.inputs == (TensorSpec("x", np.dtype(np.float32), (16,)),)
    assert spec.carry == (CarrySpec("h", "hn", np.dtype(np.float32), (2, 32)),)
    assert spec.carry_bytes == 2 * 32 * 4


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("max_batch_size: 8", "max_batch_size: 0", "max_batch_size"),
        ("max_batch_size", "max_batch_sise", "max_batch_sise"),
        ('"m"', '"other"', "other"),
        ('"onnxruntime"', '"pytorch"', "onnxruntime"),
        ("TYPE_FP32 dims: [ -1, 16 ]", "TYPE_STRING dims: [ -1, 16 ]", "TYPE_STRING"),
        ("dims: [ -1, 16 ]", "dims: [ 16 ]", "'x'"),
        ("dims: [ -1, 16 ]", "dims: [ -1, -1 ]", "'x'"),
        ("dims: [ 2, 32 ]\n", "dims: [ -1, 32 ]\n", "'h'"),
        ("zero_data: true", 'data_file: "f"', "'h'"),
        ("sequence_batching", "dynamic_batching {} sequence_batching", "dynamic_batching"),
        (
            "input [",
            'parameters { key: "input.q.range" value { string_value: "0:3" } } input [',
            "q",
        ),
        (
            "input [",
            'parameters { key: "input.x.range" value { string_value: "3" } } input [',
            "range",
        ),
    ],
)
def test_what_cannot_be_honoured_stops_the_model_and_is_named(old, new, named):
    assert old in GOOD
    with pytest.raises(ModelProblem, match=named):
        parse_config(GOOD.replace(old, new, 1), "m", 1)
