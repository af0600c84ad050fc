"""How far back the cells with an end to their memory see: to the step, and at any age."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnserve_models.cells import TCN, Attention, Cell
from rnnserve_models.reference.language_model import ReferenceLanguageModel

law = settings(deadline=None, max_examples=30)


def a_cell(kind: str, layers: int, steps: int) -> tuple[Cell, int]:
    """The cell, and how many steps y_t depends on, the present one among them."""
    torch.manual_seed(steps)
    if kind == "tcn":
        cell, reach = TCN(3, 8, layers, 0.0, kernel=steps), 1 + 2 * (steps - 1) * (2**layers - 1)
    else:
        cell = Attention(3, 8, layers, 0.0, heads=2, attention_window=steps)
        reach = 1 + layers * (steps - 1)
    return cell, reach


def influence(cell: Cell, T: int, cut: int) -> torch.Tensor:
    """|dy_T / dx_t| for every t, the first `cut` steps in a call of their own."""
    x = torch.randn(1, T, 3, requires_grad=True)
    carry, y = cell.initial_carry(1), torch.empty(0)
    for chunk in torch.tensor_split(x, [cut], dim=1):
        if chunk.shape[1]:
            carry, y = cell(carry, chunk)
    (of_x,) = torch.autograd.grad(y[0, -1] @ torch.randn(8), x)
    return of_x.abs().sum(dim=2)[0]  # (T,)


@law
@given(
    kind=st.sampled_from(["tcn", "attention"]),
    layers=st.integers(1, 3),
    steps=st.integers(2, 4),
    cut=st.integers(0, 40),
)
def test_a_step_beyond_the_reach_never_counts_and_one_within_does(kind, layers, steps, cut):
    cell, reach = a_cell(kind, layers, steps)
    felt = influence(cell, reach + 3, min(cut, reach + 2))
    assert felt[:3].eq(0).all()
    # A ReLU may shut a single path of a tcn; attention shuts none.
    within = felt[3:]
    assert within.ne(0).all() if kind == "attention" else within.ne(0).float().mean() > 0.5


def test_an_attention_window_of_one_step_sees_only_itself():
    cell = Attention(3, 8, 2, 0.0, heads=2, attention_window=1)
    felt = influence(cell, 5, 2)
    assert felt.ne(0).tolist() == [False] * 4 + [True]


@pytest.mark.parametrize("age", [5, 2**24 - 3, 2**31 - 3, 2**53 + 1, 2**62])
def test_attention_does_not_notice_how_old_a_session_is(build_model, age):
    model = build_model("attention", layers=2)  # W = 4: after 7 steps the start is forgotten
    tokens = torch.randint(0, 11, (2, 30), generator=torch.Generator().manual_seed(1))
    old = model.initial_carry(2)
    old["position"] += age
    carry, answers = model(old, tokens)
    young, expected = model(model.initial_carry(2), tokens)
    torch.testing.assert_close(answers[:, 7:], expected[:, 7:], atol=1e-5, rtol=0)
    assert torch.equal(carry["position"], young["position"] + age)


@pytest.mark.parametrize("age", [2**31 - 3, 2**62])
def test_old_attention_is_still_the_equations(build_model, age):
    model = build_model("attention", layers=2)
    tokens = torch.randint(0, 11, (2, 12), generator=torch.Generator().manual_seed(2))
    reference = ReferenceLanguageModel(model)
    carry, expected_carry = model.initial_carry(2), reference.initial_carry(2)
    carry["position"] += age
    expected_carry["position"] += age
    carry, answers = model(carry, tokens)
    expected_carry, expected = reference(expected_carry, tokens.numpy())
    np.testing.assert_allclose(answers.detach().numpy(), expected, atol=2e-5, rtol=0)
    assert expected_carry["position"].tolist() == carry["position"].tolist() == [[age + 12]] * 2


def test_the_zeros_of_a_new_window_are_not_attended_to():
    cell = Attention(3, 8, 1, 0.0, heads=2, attention_window=9)
    x = torch.randn(1, 1, 3)
    carry = cell.initial_carry(1)
    _, clean = cell(carry, x)
    carry["k0"] += 5.0
    carry["v0"] += 5.0
    _, answer = cell(carry, x)
    assert torch.equal(answer, clean)


@pytest.mark.parametrize("hidden", [1, 2, 7, 9, 64])
@pytest.mark.parametrize("heads", [1, 3, 4])
def test_any_hidden_size_has_any_number_of_heads(hidden, heads):
    cell = Attention(3, hidden, 1, 0.0, heads=heads, attention_window=2)
    _, y = cell(cell.initial_carry(2), torch.randn(2, 3, 3))
    assert y.shape == (2, 3, hidden)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: TCN(3, 8, 1, 0.0, kernel=1),
        lambda: Attention(3, 8, 1, 0.0, heads=0),
        lambda: Attention(3, 8, 1, 0.0, attention_window=0),
    ],
)
def test_a_reach_of_nothing_is_refused(wrong):
    with pytest.raises(ValueError, match=r"give 2 or more|at least one head"):
        wrong()
