"""The graph computes what torch and the equations compute, and is a file that stands alone."""

from functools import cache

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto

from rnnserve.engine.runner import Runner
from rnnserve.errors import ModelProblem
from rnnserve.repository.config import format_config, parse_config
from rnnserve_export.cases import random_carry, zero_carry
from rnnserve_export.cells import CELL_GRAPHS
from rnnserve_export.errors import ExportError, NoGraphForCell
from rnnserve_export.graph import build_graph
from rnnserve_export.interface import model_spec
from rnnserve_export.parity import difference, graph_answers, in_chunks, torch_answers
from rnnserve_models.cells import CELLS
from rnnserve_models.reference.language_model import ReferenceLanguageModel

KINDS = [(cell, layers) for cell in ("rnn", "lstm", "gru") for layers in (1, 2)]
every_kind = pytest.mark.parametrize(("cell", "layers"), KINDS)


@pytest.fixture(scope="module")
def answers(build_model):
    @cache
    def three(cell, layers):
        model = build_model(cell, layers)
        spec = model_spec(model, "m")
        graph = graph_answers(spec, build_graph(model))
        return spec, graph, torch_answers(model), ReferenceLanguageModel(model)

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
    tokens = rng.integers(0, spec.inputs[0].high, (B, sum(chunks)))
    found = in_chunks(graph, carry, tokens, chunks)
    assert difference(found, reference(carry, tokens)).relative < 1e-5
    assert difference(found, in_torch(carry, tokens)).relative < 1e-5


@every_kind
def test_a_row_does_not_feel_the_others(answers, cell, layers):
    spec, graph, *_ = answers(cell, layers)
    rng = np.random.default_rng(0)
    carry = random_carry(spec, 5, rng)
    tokens = rng.integers(0, spec.inputs[0].high, (5, 4))
    after, logits = graph(carry, tokens)
    for row in range(5):
        only = slice(row, row + 1)
        alone = graph({name: array[only] for name, array in carry.items()}, tokens[only])
        together = ({name: array[only] for name, array in after.items()}, logits[only])
        assert difference(alone, together).relative < 1e-6


@every_kind
def test_the_file_stands_alone_and_its_rows_and_time_are_free(build_model, cell, layers):
    file = onnx.load_model_from_string(build_graph(build_model(cell, layers)))
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
def test_equal_weights_give_equal_files(build_model, cell, layers):
    model = build_model(cell, layers)
    assert build_graph(model) == build_graph(model)


@every_kind
def test_training_mode_and_dropout_leave_no_trace(build_model, cell, layers):
    model = build_model(cell, layers)
    expected = build_graph(model)
    model.train()
    try:
        assert build_graph(model) == expected
    finally:
        model.eval()


@every_kind
def test_the_config_says_all_that_the_server_has_to_know(build_model, cell, layers):
    model = build_model(cell, layers)
    spec = model_spec(model, "m", version=4, max_batch=33)
    assert parse_config(format_config(spec), "m", version=4) == spec
    assert spec.predicts_tokens
    assert [entry.input_name for entry in spec.carry] == list(model.carry_shapes())
    Runner(spec, build_graph(model))


def test_a_graph_of_another_width_does_not_fit_the_description(build_model):
    spec = model_spec(build_model("gru", hidden=6), "m")
    with pytest.raises(ModelProblem):
        Runner(spec, build_graph(build_model("gru", hidden=7)))


def test_every_cell_of_the_models_room_has_a_graph():
    assert set(CELL_GRAPHS) == set(CELLS)


def test_a_cell_without_a_graph_is_refused_by_name(build_model, monkeypatch):
    monkeypatch.delitem(CELL_GRAPHS, "gru")
    with pytest.raises(NoGraphForCell, match="'gru' has no ONNX graph: there are rnn, lstm"):
        build_graph(build_model("gru"))
    assert issubclass(NoGraphForCell, ExportError)
