"""A right graph is proved, a wrong one is refused with the figure that gave it away."""

import copy
import io
import json
import re

import numpy as np
import pytest
import torch

from rnnserve.engine.runner import Runner
from rnnserve_export.errors import ExportError, ProofFailed
from rnnserve_export.golden import golden_vectors
from rnnserve_export.graph import build_graph
from rnnserve_export.interface import (
    LOGITS,
    TOKENS,
    model_spec,
    reference_answers,
    text_feed,
    torch_model,
)
from rnnserve_export.parity import torch_answers
from rnnserve_export.proof import GOLDEN_CHECK, TOLERANCE, prove
from small_models import CELLS

from .sabotage import (
    change_weight,
    exchange_biases,
    exchange_outputs,
    swap_two_gates,
    transpose,
)


def golden_of(model, text):
    feed = text_feed(model_spec(model, "m"), text)
    return golden_vectors(reference_answers(model), "NumPy", feed)


def proof_of(model, text, graph=None, **hooks):
    feed = text_feed(model_spec(model, "m"), text)
    graph = graph or build_graph(model)
    return prove(torch_model(model), graph, feed, golden_of(model, text), **hooks)


@pytest.mark.parametrize("cell", CELLS)
def test_every_check_passes_for_the_graph_that_was_drawn(build_model, graph_of, text, cell):
    proof = proof_of(build_model(cell), text, graph_of(cell))
    assert all(check.relative_error <= check.tolerance for check in proof.checks)
    names = [check.name for check in proof.checks]
    assert any("chain of 2000 single steps" in name for name in names)
    assert names[-1] == f"{GOLDEN_CHECK} (NumPy)"


@pytest.mark.parametrize(
    ("cell", "weight", "change"),
    [
        ("lstm", "R1", swap_two_gates),
        ("lstm", "W0", swap_two_gates),
        ("gru", "R1", swap_two_gates),
        ("gru", "B0", exchange_biases),
        ("rnn", "R1", transpose),
        ("lstm", "b_y", lambda bias: bias + 1e-3),
    ],
)
def test_a_sabotaged_weight_is_caught_and_measured(build_model, text, cell, weight, change):
    model = build_model(cell)
    wrong = change_weight(build_graph(model), weight, change)
    with pytest.raises(ProofFailed) as caught:
        proof_of(model, text, wrong)
    found = re.search(r"is off by (\S+) \(.*at most (\S+) is allowed", str(caught.value))
    assert found, caught.value
    assert float(found[1]) > float(found[2]) >= TOLERANCE
    assert isinstance(caught.value, ExportError)


@pytest.mark.parametrize(
    ("cell", "states"),
    [
        ("tcn", ("x1_next", "u1_next")),
        ("attention", ("k0_next", "v0_next")),
        ("mingru", ("h0_next", "h1_next")),
    ],
)
def test_a_drawn_graph_that_mixes_up_its_states_is_caught(
    build_model, graph_of, text, cell, states
):
    with pytest.raises(ProofFailed):
        proof_of(build_model(cell), text, exchange_outputs(graph_of(cell), *states))


def test_a_fault_that_only_an_earlier_carry_shows_is_caught(build_model, text):
    """A recurrent matrix does nothing at the first step of a text."""
    model = build_model("rnn")
    wrong = change_weight(build_graph(model), "R0", transpose)
    with pytest.raises(ProofFailed):
        proof_of(model, text, wrong)


def test_weights_that_are_not_finite_are_never_published(build_model, text):
    model = copy.deepcopy(build_model("lstm"))
    with torch.no_grad():
        model.readout.bias[0] = float("nan")
    with pytest.raises(ProofFailed, match="off by inf"):
        proof_of(model, text)


def chaotic(model):
    """The same model with a recurrent matrix that lets rounding grow from step to step."""
    wild = copy.deepcopy(model)
    with torch.no_grad():
        wild.cell.net.weight_hh_l0.mul_(8.0)
        wild.cell.net.weight_ih_l0.mul_(0.1)
    return wild


def test_a_network_that_amplifies_rounding_can_be_published(build_model, text):
    proof = proof_of(chaotic(build_model("rnn", layers=1, hidden=32)), text)
    tolerances = {check.name: check.tolerance for check in proof.checks}
    assert max(tolerances.values()) > 100 * TOLERANCE, "the network isn't chaotic: test nothing"


def test_a_wrong_graph_of_such_a_network_is_still_caught(build_model, text):
    model = chaotic(build_model("rnn", layers=1, hidden=32))
    wrong = change_weight(build_graph(model), "R0", transpose)
    with pytest.raises(ProofFailed):
        proof_of(model, text, wrong)


def test_the_proof_says_how_far_it_is(build_model, text):
    heard = []
    proof_of(build_model("gru"), text, on_steps=lambda *news: heard.append(news))
    done = [steps for _, steps, _ in heard]
    assert done == sorted(done)
    assert done[-1] == heard[-1][2]


def test_the_proof_leaves_the_model_and_torch_as_they_were(build_model, text):
    model = copy.deepcopy(build_model("lstm")).train()
    torch.set_num_threads(2)
    proof_of(model, text)
    assert model.training
    assert torch.get_num_threads() == 2


def test_the_proof_is_written_down_with_its_figures(build_model, text):
    proof = proof_of(build_model("rnn"), text)
    written = json.loads(proof.to_json())
    assert [check["name"] for check in written["checks"]] == [c.name for c in proof.checks]
    for check in written["checks"]:
        assert 0 <= check["relative_error"] <= check["tolerance"]
    assert set(written["made_with"]) == {"torch", "onnx", "onnxscript", "onnxruntime"}


@pytest.mark.parametrize("cell", CELLS)
def test_the_golden_vectors_are_met_by_the_runner_and_by_torch(build_model, graph_of, text, cell):
    model = build_model(cell)
    spec = model_spec(model, "m")
    file = golden_of(model, text).to_npz(spec, TOLERANCE)
    golden = np.load(io.BytesIO(file), allow_pickle=False)
    carry = {entry.input_name: golden[entry.input_name] for entry in spec.carry}
    after, (logits,) = Runner(spec, graph_of(cell)).run(tuple(carry.values()), (golden["tokens"],))
    np.testing.assert_allclose(logits, golden["logits"], atol=1e-5)
    for entry, array in zip(spec.carry, after, strict=True):
        np.testing.assert_allclose(array, golden[entry.output_name], atol=1e-5)
    np.testing.assert_allclose(
        torch_answers(torch_model(model))(carry, {TOKENS: golden[TOKENS]})[1][LOGITS],
        golden[LOGITS],
        atol=1e-5,
    )
    assert all(not array[:2].any() and array[2:].any() for array in carry.values())
    assert golden["tolerance"] == TOLERANCE


def test_golden_vectors_of_one_model_are_always_the_same_file(build_model, text):
    model = build_model("gru")
    spec = model_spec(model, "m")
    files = {golden_of(model, text).to_npz(spec, TOLERANCE) for _ in range(2)}
    assert len(files) == 1
