"""The study's tasks are what the papers say, and their baselines are what ignorance gets."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnserve_models.study.adding import Adding
from rnnserve_models.study.copying import BLANK, MARK, REMEMBERED, SYMBOLS, Copying
from rnnserve_models.study.digits import PIXELS, PermutedDigits, SequentialDigits
from rnnserve_models.study.tasks import tasks

seeds = st.integers(0, 2**31)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@given(length=st.integers(2, 60), rows=st.integers(1, 9), seed=seeds)
@settings(max_examples=50, deadline=None)
def test_the_sum_is_that_of_the_two_numbers_marked(length, rows, seed):
    batch = Adding(length).batch(rows, seeded(seed))
    assert batch.x.shape == (rows, length, 2)
    for x, target in zip(batch.x, batch.targets, strict=True):
        marked = x[:, 1] == 1
        assert marked.sum() == 2
        assert (x[~marked, 1] == 0).all()
        assert ((x[:, 0] >= 0) & (x[:, 0] < 1)).all()
        assert target.item() == pytest.approx(x[marked, 0].sum().item())


def test_every_step_is_marked_as_often_as_any_other():
    rows, length = 20_000, 10
    marks = Adding(length).batch(rows, seeded(0)).x[:, :, 1].mean(dim=0)
    expected, error = 2 / length, math.sqrt(0.2 * 0.8 / rows)
    assert (marks - expected).abs().max() < 5 * error


@given(answer=st.integers(-100, 300).map(lambda n: n / 100), seed=seeds)
@settings(max_examples=30, deadline=None)
def test_no_constant_answer_to_an_addition_beats_the_baseline(answer, seed):
    task, rows = Adding(7), 20_000
    targets = task.batch(rows, seeded(seed)).targets
    loss = task.loss(torch.full((rows, 1, 1), answer), targets).item()
    # A constant c is off by 1/6 + (c - 1)^2; the variance of its square is 7/180 + 2/3 (c - 1)^2.
    error = math.sqrt((7 / 180 + 2 / 3 * (answer - 1) ** 2) / rows)
    assert loss == pytest.approx(task.baseline + (answer - 1) ** 2, abs=6 * error)


@given(length=st.integers(1, 80), rows=st.integers(1, 5), seed=seeds)
@settings(max_examples=50, deadline=None)
def test_what_is_to_be_copied_comes_first_and_is_wanted_at_the_last_ten_steps(length, rows, seed):
    task = Copying(length)
    batch = task.batch(rows, seeded(seed))
    tokens = batch.x.argmax(dim=2)  # (B, T)
    assert batch.x.shape == (rows, length + 20, SYMBOLS + 2)
    assert (batch.x.sum(dim=2) == 1).all()
    symbols, rest = tokens[:, :REMEMBERED], tokens[:, REMEMBERED:]
    assert ((symbols >= 1) & (symbols <= SYMBOLS)).all()
    assert (rest[:, : length - 1] == BLANK).all()
    assert (rest[:, length - 1 :] == MARK).all()
    assert rest[:, length - 1 :].shape[1] == REMEMBERED + 1
    assert (batch.targets[:, :-REMEMBERED] == BLANK).all()
    assert torch.equal(batch.targets[:, -REMEMBERED:], symbols)


@given(length=st.integers(1, 200), seed=seeds)
@settings(max_examples=30, deadline=None)
def test_guessing_the_symbols_costs_just_the_baseline(length, seed):
    task = Copying(length)
    batch = task.batch(3, seeded(seed))
    y = torch.full((3, task.steps, task.outputs), -1e9)
    y[:, :-REMEMBERED, BLANK] = 0.0
    y[:, -REMEMBERED:, 1 : SYMBOLS + 1] = 0.0
    assert task.loss(y, batch.targets).item() == pytest.approx(
        10 * math.log(8) / (length + 20), rel=1e-5
    )


def test_only_the_symbols_count_as_copied():
    task = Copying(5)
    batch = task.batch(4, seeded(1))
    right = torch.nn.functional.one_hot(batch.targets, task.outputs).float()
    blanks = torch.zeros_like(right)
    blanks[:, :, BLANK] = 1
    assert task.success(right, batch.targets) == 1.0
    assert task.success(blanks, batch.targets) == 0.0


def test_a_permuted_image_has_the_same_pixels_in_one_order_for_all():
    plain = torch.cat([batch.x for batch in SequentialDigits().held_out()])[:, :, 0]
    permuted = torch.cat([batch.x for batch in PermutedDigits().held_out()])[:, :, 0]
    assert not torch.equal(plain, permuted)
    assert torch.equal(plain.sort(dim=1).values, permuted.sort(dim=1).values)
    orders = [
        order
        for order in [PermutedDigits()._order, PermutedDigits()._order]
        if torch.equal(plain[:, order], permuted)
    ]
    assert len(orders) == 2
    assert sorted(orders[0].tolist()) == list(range(PIXELS))


def test_no_image_is_both_learnt_and_held_out():
    task = SequentialDigits()
    held_out = {tuple(row.tolist()) for batch in task.held_out() for row in batch.x[:, :, 0]}
    learnt = task.batch(4_000, seeded(0)).x[:, :, 0]
    assert held_out.isdisjoint(tuple(row.tolist()) for row in learnt)
    assert len(held_out) == int(0.2 * 1_797)


def test_an_image_has_as_many_steps_as_pixels():
    with pytest.raises(ValueError, match="64 pixels, not 784"):
        SequentialDigits(784)


@pytest.mark.parametrize("name", list(tasks()))
def test_equal_seeds_see_equal_examples_and_what_is_held_out_stays(name):
    task = tasks()[name](64)
    one, again, other = (task.batch(5, seeded(seed)) for seed in (3, 3, 4))
    assert torch.equal(one.x, again.x)
    assert torch.equal(one.targets, again.targets)
    assert not torch.equal(one.x, other.x)
    for first, second in zip(task.held_out(), task.held_out(), strict=True):
        assert torch.equal(first.x, second.x)
        assert first.x.shape[1:] == (task.steps, task.inputs)
