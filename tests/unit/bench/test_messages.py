"""What the load sends, read by the generated code and by the client's decoder."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnserve.client.codec import read_tensor
from rnnserve.v1 import rnnserve_pb2 as v1
from rnnserve_bench.errors import BenchProblem
from rnnserve_bench.traffic.messages import Inputs, operation_id, step_head, step_operation

NUMBERS = st.integers(0, 1 << 40)


def opened(*inputs: v1.Tensor, shaped: bool = False, limit: int = 512) -> v1.Opened:
    output = v1.Tensor(name="y", data_type=v1.FP32, shape=[3])
    limits = v1.Limits(max_chunk_steps=limit)
    return v1.Opened(session_id="s", inputs=inputs, outputs=[output], limits=limits, shaped=shaped)


TOKENS = v1.Tensor(name="tokens", data_type=v1.INT64, low=5, high=9)
SENSOR = v1.Tensor(name="x", data_type=v1.FP32, shape=[2, 3])


@settings(deadline=None, max_examples=40)
@given(NUMBERS, st.integers(1, 1 << 31), st.integers(1, 200))
def test_a_step_is_the_message_that_the_contract_means(index, number, steps):
    inputs = Inputs(opened(TOKENS, SENSOR), 8, 0.25, seed=1)
    frame = step_operation(step_head("s" * 32), index, inputs.rest(steps), operation_id(number))
    (operation,) = v1.OperationFrame.FromString(frame).operations
    step = operation.step
    assert (operation.id, step.session_id, step.index) == (number, "s" * 32, index)
    assert list(step.data_types) == [v1.INT64, v1.FP32]
    assert step.timeout_us == 250_000
    tokens, sensor = map(np.frombuffer, step.inputs, ("<i8", "<f4"))
    assert len(tokens) == steps
    assert len(sensor) == steps * 6
    assert 5 <= tokens.min() <= tokens.max() < 9


def test_entries_joined_are_one_frame():
    inputs = Inputs(opened(TOKENS), 8, 0, seed=1)
    entries = [step_operation(step_head("s"), n, inputs.rest(1), operation_id(n)) for n in (1, 2)]
    frame = v1.OperationFrame.FromString(b"".join(entries))
    assert [operation.id for operation in frame.operations] == [1, 2]


@pytest.mark.parametrize("kind", ["BOOL", "UINT8", "INT32", "FP16", "FP64", "STRING"])
def test_values_of_every_type_are_made_up(kind):
    tensor = v1.Tensor(name="x", data_type=v1.DataType.Value(kind), shape=[-1])
    inputs = Inputs(opened(tensor, shaped=True), 5, 0, seed=1)
    step = v1.Step.FromString(inputs.rest(1))
    assert [list(shape.dims) for shape in step.shapes] == [[5]]
    if kind != "STRING":
        assert len(step.inputs[0]) == 5 * read_tensor(tensor).dtype.itemsize


def test_an_answer_is_held_against_its_index_and_its_size():
    inputs = Inputs(opened(TOKENS), 8, 0, seed=1)
    right = v1.Stepped(index=4, outputs=[bytes(2 * 12)])
    assert inputs.is_right(right, 4, 2)
    assert not inputs.is_right(right, 5, 2)
    assert not inputs.is_right(right, 4, 3)
    assert not inputs.is_right(v1.Stepped(index=4), 4, 2)


def test_a_chunk_over_the_servers_limit_is_not_sent():
    with pytest.raises(BenchProblem, match="takes 4 steps"):
        Inputs(opened(TOKENS, limit=4), 8, 0, seed=1).rest(5)
