"""The laws of every cell: cuts, company, company's length, and the equations themselves."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnserve_models.cells import CELLS, LSTM
from rnnserve_models.language_model import LanguageModel, ModelShape
from rnnserve_models.reference.language_model import REFERENCE_CELLS, ReferenceLanguageModel

law = settings(deadline=None, max_examples=40)
cells = st.sampled_from(sorted(CELLS))
layer_counts = st.integers(1, 2)
seeds = st.integers(0, 1000)
cut_lists = st.lists(st.integers(1, 11), unique=True).map(sorted)


def random_tokens(seed: int, batch: int, steps: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 11, (batch, steps)))


@law
@given(cell=cells, layers=layer_counts, seed=seeds, cuts=cut_lists)
def test_chunking_never_changes_the_answer(build_model, cell, layers, seed, cuts):
    model, tokens = build_model(cell, layers), random_tokens(seed, batch=3, steps=12)
    carry, whole = model(model.initial_carry(3), tokens)
    piecewise, pieces = model.initial_carry(3), []
    for chunk in torch.tensor_split(tokens, cuts, dim=1):
        if chunk.shape[1]:
            piecewise, logits = model(piecewise, chunk)
            pieces.append(logits)
    torch.testing.assert_close(torch.cat(pieces, dim=1), whole, atol=1e-5, rtol=0)
    for name in carry:
        torch.testing.assert_close(piecewise[name], carry[name], atol=1e-5, rtol=0)


@law
@given(cell=cells, layers=layer_counts, seed=seeds, cut=st.integers(1, 11))
def test_torch_computes_the_equations(build_model, cell, layers, seed, cut):
    model, tokens = build_model(cell, layers), random_tokens(seed, batch=2, steps=12)
    reference = ReferenceLanguageModel(model)
    carry, expected_carry = model.initial_carry(2), reference.initial_carry(2)
    for chunk in (tokens[:, :cut], tokens[:, cut:]):
        carry, logits = model(carry, chunk)
        expected_carry, expected = reference(expected_carry, chunk.numpy())
        np.testing.assert_allclose(logits.detach().numpy(), expected, atol=2e-5, rtol=0)
    assert list(carry) == list(expected_carry)
    for name in carry:
        np.testing.assert_allclose(
            carry[name].detach().numpy(), expected_carry[name], atol=2e-5, rtol=0
        )


@law
@given(cell=cells, seed=seeds, order=st.permutations(range(4)))
def test_a_row_never_notices_its_company(build_model, cell, seed, order):
    model, tokens = build_model(cell), random_tokens(seed, batch=4, steps=6)
    _, together = model(model.initial_carry(4), tokens[list(order)])
    for place, row in enumerate(order):
        _, alone = model(model.initial_carry(1), tokens[row : row + 1])
        torch.testing.assert_close(together[place], alone[0], atol=1e-5, rtol=0)


@pytest.mark.parametrize("cell", sorted(CELLS))
def test_the_carry_given_is_left_as_it_was(build_model, cell):
    model = build_model(cell)
    carry, _ = model(model.initial_carry(2), random_tokens(1, batch=2, steps=3))
    before = {name: entry.clone() for name, entry in carry.items()}
    model(carry, random_tokens(0, batch=2, steps=3))
    assert all(torch.equal(carry[name], before[name]) for name in before)


@pytest.mark.parametrize(
    ("cell", "names"),
    [
        ("rnn", ["h0", "h1"]),
        ("gru", ["h0", "h1"]),
        ("lstm", ["h0", "c0", "h1", "c1"]),
        ("tcn", ["x0", "u0", "x1", "u1"]),
        ("attention", ["k0", "v0", "k1", "v1", "position"]),
        ("mingru", ["h0", "h1"]),
    ],
)
def test_the_carry_is_one_named_array_per_layer_and_kind_and_only_counters_are_int64(
    build_model, cell, names
):
    model = build_model(cell)
    after, _ = model(model.initial_carry(3), random_tokens(0, batch=3, steps=2))
    for carry in (model.initial_carry(3), after):
        assert list(carry) == names == list(model.carry_shapes())
        for name, entry in carry.items():
            wanted = torch.int64 if name == "position" else torch.float32
            assert entry.dtype == model.carry_shapes()[name].dtype == wanted
            assert entry.shape == (3, *model.carry_shapes()[name].shape)


@pytest.mark.parametrize("cell", sorted(CELLS))
def test_bfloat16_training_still_carries_float32(build_model, cell):
    model = build_model(cell)
    with torch.autocast("cpu", torch.bfloat16):
        carry, _ = model(model.initial_carry(2), random_tokens(0, batch=2, steps=3))
    assert {entry.dtype for entry in carry.values() if entry.is_floating_point()} == {torch.float32}


@law
@given(cell=cells, layers=layer_counts, seed=seeds, step=st.integers(0, 10))
def test_an_answer_never_depends_on_a_later_step(build_model, cell, layers, seed, step):
    model = build_model(cell, layers)
    x = model.embedding(random_tokens(seed, batch=2, steps=12)).detach().requires_grad_()
    _, y = model.cell(model.initial_carry(2), x)
    y[:, step].sum().backward()
    assert x.grad[:, step + 1 :].eq(0).all()
    assert x.grad[:, step].ne(0).any()


@pytest.mark.parametrize("cell", sorted(CELLS))
def test_a_row_may_be_at_any_step_when_another_begins(build_model, cell):
    model, tokens = build_model(cell), random_tokens(3, batch=2, steps=9)
    old, _ = model(model.initial_carry(1), tokens[:1, :5])
    mixed = {name: torch.cat([old[name], new]) for name, new in model.initial_carry(1).items()}
    _, together = model(mixed, tokens[:, 5:])
    _, begun = model(model.initial_carry(1), tokens[1:, 5:])
    _, gone_on = model(old, tokens[:1, 5:])
    torch.testing.assert_close(together, torch.cat([gone_on, begun]), atol=1e-5, rtol=0)


def test_a_new_lstm_forgets_with_a_total_bias_of_one():
    net = LSTM(width=3, hidden=4, layers=2, dropout=0.0).net
    for layer in range(2):
        total = getattr(net, f"bias_ih_l{layer}") + getattr(net, f"bias_hh_l{layer}")
        assert total.tolist() == [0.0] * 4 + [1.0] * 4 + [0.0] * 8


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_new_recurrent_matrices_neither_grow_nor_shrink_a_vector(cell):
    net = CELLS[cell](3, 6, 1, 0.0).net
    for gate in net.weight_hh_l0.split(6):
        torch.testing.assert_close(gate @ gate.T, torch.eye(6), atol=1e-5, rtol=0)


@pytest.mark.parametrize("cell", sorted(CELLS))
def test_after_20000_steps_the_carry_is_still_the_reference(build_model, cell):
    model = build_model(cell, layers=1, hidden=4)
    reference, tokens = ReferenceLanguageModel(model), random_tokens(1, batch=1, steps=20_000)
    carry = model.initial_carry(1)
    with torch.inference_mode():
        for chunk in tokens.split(500, dim=1):
            carry, _ = model(carry, chunk)
    expected, _ = reference(reference.initial_carry(1), tokens.numpy())
    for name in expected:
        np.testing.assert_allclose(carry[name].numpy(), expected[name], atol=1e-4, rtol=0)


def test_every_cell_has_an_oracle():
    assert set(REFERENCE_CELLS) == set(CELLS)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_reference_computes_in_the_dtype_asked_for(build_model, dtype):
    reference = ReferenceLanguageModel(build_model("gru"), dtype)
    carry, logits = reference(reference.initial_carry(2), np.zeros((2, 3), np.int64))
    assert logits.dtype == dtype
    assert {entry.dtype for entry in carry.values()} == {np.dtype(dtype)}


def test_a_model_shape_survives_json():
    shape = ModelShape(cell="gru", vocabulary=9, embedding=4, hidden=5, layers=2, dropout=0.1)
    assert ModelShape(**shape.as_dict()) == shape


def test_an_option_of_another_cell_is_refused():
    with pytest.raises(ValueError, match="kernel is for the cell tcn, not for gru"):
        ModelShape(cell="gru", vocabulary=9, embedding=4, hidden=5, layers=2, kernel=3)


def test_a_new_mingru_keeps_as_much_as_a_new_lstm():
    for drive in CELLS["mingru"](3, 4, 2, 0.0).drives:
        assert drive.bias.tolist() == [-1.0] * 4 + [0.0] * 4


def test_an_unknown_cell_is_refused_by_name():
    with pytest.raises(ValueError, match="no cell is called 'lstn'; there are"):
        ModelShape(cell="lstn", vocabulary=9, embedding=4, hidden=5, layers=2)


def test_dropout_acts_in_training_only():
    shape = ModelShape(cell="lstm", vocabulary=9, embedding=4, hidden=5, layers=2, dropout=0.5)
    model, tokens = LanguageModel(shape), torch.zeros(1, 6, dtype=torch.int64)
    answers = [model(model.initial_carry(1), tokens)[1] for _ in range(2)]
    assert not torch.equal(*answers)
    model.eval()
    answers = [model(model.initial_carry(1), tokens)[1] for _ in range(2)]
    assert torch.equal(*answers)
