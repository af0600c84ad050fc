"""The linear recurrence in parallel, against the same one step after the other."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnserve_models.cells.recurrence import linear_recurrence

law = settings(deadline=None, max_examples=60)


def drives(seed: int, B: int, T: int, H: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    arrays = [normal(B, H), torch.sigmoid(normal(B, T, H)), normal(B, T, H)]
    return [array.requires_grad_() for array in arrays]


def one_after_the_other(h: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    steps = []
    for a_t, b_t in zip(a.unbind(1), b.unbind(1), strict=True):
        h = a_t * h + b_t
        steps.append(h)
    return torch.stack(steps, dim=1)


@law
@given(seed=st.integers(0, 99), B=st.integers(1, 3), T=st.integers(1, 70), H=st.integers(1, 4))
def test_in_parallel_is_one_after_the_other_and_so_is_its_derivative(seed, B, T, H):
    arrays = drives(seed, B, T, H)
    y, expected = linear_recurrence(*arrays), one_after_the_other(*arrays)
    torch.testing.assert_close(y, expected)
    asked = torch.randn(y.shape, dtype=y.dtype)
    ours, theirs = (torch.autograd.grad(form, arrays, asked) for form in (y, expected))
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("a", [0.0, 1.0])
def test_forgetting_all_and_forgetting_nothing_are_exact(a):
    h, b = torch.full((1, 2), 3.0), torch.arange(14.0).view(1, 7, 2)
    y = linear_recurrence(h, torch.full_like(b, a), b)
    assert torch.equal(y, b if a == 0.0 else h[:, None] + b.cumsum(dim=1))


@pytest.mark.parametrize("strength", [1e-6, 1.0, 30.0])
def test_float32_stays_near_float64_over_100_000_steps(strength):
    """Where cumulative products vanish (30), and where they hardly fall (1e-6)."""
    generator = torch.Generator().manual_seed(1)
    loss = strength * torch.rand(1, 100_000, 2, generator=generator)
    a, b = torch.exp(-loss), 1 - torch.exp(-loss)
    h = torch.zeros(1, 2)
    exact = linear_recurrence(h.double(), a.double(), b.double())
    torch.testing.assert_close(linear_recurrence(h, a, b).double(), exact, atol=1e-5, rtol=1e-5)
