"""The graph computes what torch and the equations compute, and is a file that stands alone."""

from functools import cache

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto

from rnnserve.engine.runner import Runner
from rnnserve.errors import ModelProblem
from rnnserve.repository.config import format_config, parse_config
from rnnserve_export.cells import CELL_GRAPHS
from rnnserve_export.feed import zero_carry
from rnnserve_export.graph import build_graph
from rnnserve_export.interface import TOKENS, model_spec, reference_answers, torch_model
from rnnserve_export.parity import difference, graph_answers, in_chunks, torch_answers
from rnnserve_export.proof import TOLERANCE
from rnnserve_models.cells import CELLS
from small_models import CELLS as SMALL_CELLS
from small_models import DRAWN, KINDS, WRITTEN, random_carry

every_kind = pytest.mark.parametrize(("cell", "layers"), KINDS)


@pytest.fixture(scope="module")
def answers(build_model, graph_of):
    @cache
    def three(cell, layers):
        model = build_model(cell, layers)
        spec = model_spec(model, "m")
        graph = graph_answers(spec, graph_of(cell, layers))
        return spec, graph, torch_answers(torch_model(model)), reference_answers(model)

    return three


@st.composite
def questions(draw):
    chunks = tuple(draw(st.lists(st.integers(1, 9), min_size=1, max_size=8)))
    return draw(st.integers(1, 9)), chunks, draw(st.booleans()), draw(st.integers(0, 2**32))


@every_kind
@given(question=questions())
@settings(max_examples=30, deadline=None)
def test_torch_and_graph_and_equations_agree_in_any_chunks(answers, cell, layers, question):
    spec, graph, in_torch, reference = answers(cell, layers)
    B, chunks, fresh, seed = question
    rng = np.random.default_rng(seed)
    carry = zero_carry(spec, B) if fresh else random_carry(spec, B, rng)
    tokens = {TOKENS: rng.integers(0, spec.inputs[0].high, (B, sum(chunks)))}
    found = in_chunks(graph, carry, tokens, chunks)
    assert difference(found, reference(carry, tokens)).relative < TOLERANCE
    assert difference(found, in_torch(carry, tokens)).relative < TOLERANCE


@every_kind
def test_a_row_does_not_feel_the_others(answers, cell, layers):
    spec, graph, *_ = answers(cell, layers)
    rng = np.random.default_rng(0)
    carry = random_carry(spec, 5, rng)
    tokens = {TOKENS: rng.integers(0, spec.inputs[0].high, (5, 4))}
    together = graph(carry, tokens)
    for row in range(5):

        def alone(arrays, row=row):
            return {name: array[row : row + 1] for name, array in arrays.items()}

        expected = (alone(together[0]), alone(together[1]))
        assert difference(graph(alone(carry), alone(tokens)), expected).relative < 1e-6


@every_kind
def test_the_file_stands_alone_and_its_rows_and_time_are_free(graph_of, cell, layers):
    file = onnx.load_model_from_string(graph_of(cell, layers))
    assert [entry.domain for entry in file.opset_import] == [""]
    assert {node.domain for node in file.graph.node} == {""}
    assert not file.functions
    for constant in file.graph.initializer:
        assert constant.data_location == TensorProto.DEFAULT
        assert not constant.external_data
    for tensor in [*file.graph.input, *file.graph.output]:
        dims = [dim.dim_param or dim.dim_value for dim in tensor.type.tensor_type.shape.dim]
        in_time = tensor.name in ("tokens", "logits")
        assert dims[: 1 + in_time] == ["N", "T"][: 1 + in_time]
        assert all(isinstance(dim, int) for dim in dims[1 + in_time :])
    assert file.producer_name == "rnnserve"
    assert file.doc_string


@every_kind
def test_onnxruntime_has_nothing_to_warn_of(build_model, graph_of, capfd, cell, layers):
    spec = model_spec(build_model(cell, layers), "m")
    options = ort.SessionOptions()
    options.log_severity_level = 2
    session = ort.InferenceSession(graph_of(cell, layers), options)
    for B, T in ((1, 1), (2, 9), (7, 30)):
        feed = zero_carry(spec, B) | {TOKENS: np.zeros((B, T), np.int64)}
        logits, *_ = session.run(None, feed)
        assert logits.shape == (B, T, *spec.outputs[0].shape)
    assert capfd.readouterr().err == ""


@every_kind
def test_equal_weights_give_equal_files_also_in_training_mode(build_model, graph_of, cell, layers):
    """Neither dropout nor what was drawn before leaves a trace."""
    model = build_model(cell, layers)
    model.train()
    try:
        assert build_graph(model) == graph_of(cell, layers)
    finally:
        model.eval()


@every_kind
def test_the_config_says_all_that_the_server_has_to_know(build_model, graph_of, cell, layers):
    model = build_model(cell, layers)
    spec = model_spec(model, "m", version=4, max_batch=33)
    assert parse_config(format_config(spec), "m", version=4) == spec
    assert spec.predicts_tokens
    assert [entry.input_name for entry in spec.carry] == list(model.carry_shapes())
    Runner(spec, graph_of(cell, layers))


def test_a_graph_of_another_width_does_not_fit_the_description(build_model):
    spec = model_spec(build_model("gru", hidden=6), "m")
    with pytest.raises(ModelProblem):
        Runner(spec, build_graph(build_model("gru", hidden=7)))


def test_every_cell_of_the_models_room_is_tried_here():
    assert set(SMALL_CELLS) == set(CELLS)
    assert set(WRITTEN) == set(CELL_GRAPHS)
    assert set(DRAWN).isdisjoint(CELL_GRAPHS)
