"""A fit: one recipe for everybody, an end for a reason, gradients that are the derivatives."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rnnserve_models.language_model import LanguageModel
from rnnserve_models.parameters import count
from rnnserve_models.study import fitting, gradients
from rnnserve_models.study.adding import Adding
from rnnserve_models.study.fit import CHARACTERS, Ended, Fit, Recipe, Result
from rnnserve_models.study.network import Network
from rnnserve_models.study.sizes import FULL, all_fits, sequence_fit, text_shape
from rnnserve_models.study.tasks import Batch, tasks
from rnnserve_models.study.variants import VARIANTS

RECIPE = Recipe(batch=8, warmup_steps=5, evaluations=6)
VOCABULARY = 98


def a_fit(**changes) -> Fit:
    plain = {
        "task": "adding",
        "length": 6,
        "variant": "gru",
        "seed": 0,
        "hidden": 5,
        "layers": 1,
        "own_options": {},
        "steps": 12,
    }
    return Fit(**{**plain, **changes})


def run(fit: Fit, probe: bool = False) -> Result:
    return fitting.run_fit(fit, RECIPE, probe, lambda _: None)


class Told(Adding):
    """The target is a fixed number: learnt at once."""

    def batch(self, rows, generator):
        batch = super().batch(rows, generator)
        return Batch(batch.x, torch.full_like(batch.targets, 0.5))


class Unlearnable(Adding):
    """The target has nothing to do with the input."""

    def batch(self, rows, generator):
        batch = super().batch(rows, generator)
        return Batch(batch.x, batch.targets[torch.randperm(rows, generator=generator)])


class Broken(Adding):
    """From some update on the loss is no number."""

    updates = 0

    def loss(self, y, targets):
        self.updates += y.requires_grad
        return super().loss(y, targets) * (math.nan if self.updates > 7 else 1.0)


def end_of(task, steps: int) -> tuple[Ended, fitting.Fitting]:
    fit = a_fit(steps=steps)
    torch.manual_seed(0)
    under_way = fitting.Fitting(fit, RECIPE, task, Network(fit, task))
    return under_way.run(lambda _: None), under_way


def test_a_fit_ends_when_its_task_is_solved():
    ended, under_way = end_of(Told(6), 5_000)
    assert ended is Ended.SOLVED
    assert under_way.step < 5_000
    assert under_way.score.loss < RECIPE.solved_margin * Told.solved_below


def test_a_fit_that_converged_to_the_baseline_ends_after_two_thirds():
    ended, under_way = end_of(Unlearnable(6), 300)
    assert ended is Ended.STUCK
    assert under_way.step == 200


def test_a_fit_that_is_still_on_its_way_down_has_its_whole_budget():
    ended, under_way = end_of(Unlearnable(6), 12)
    assert under_way.curve[-1].held_out_loss > 1.2 / 6
    assert (ended, under_way.step) == (Ended.BUDGET, 12)


def test_a_fit_whose_loss_is_no_number_keeps_the_figures_from_before():
    ended, under_way = end_of(Broken(6), 12)
    assert ended is Ended.DIVERGED
    assert under_way.step == 8
    assert math.isfinite(under_way.score.loss)


def test_the_same_fit_gives_the_same_result_and_another_seed_another():
    def figures(fit):
        result = run(fit)
        return result.loss, [point.held_out_loss for point in result.curve]

    assert figures(a_fit()) == figures(a_fit()) != figures(a_fit(seed=1))


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_learns_and_its_result_survives_json(variant):
    own = {"attention_window": 6} if variant == "attention" else {}
    result = run(a_fit(variant=variant, own_options=own, hidden=6), probe=variant == "lstm")
    text = json.dumps(result.as_dict())
    assert json.dumps(Result.from_dict(json.loads(text)).as_dict()) == text
    assert result.ended is Ended.BUDGET
    assert result.curve[-1].step == result.steps_done == 12
    assert result.parameters == count(Network(result.fit, Adding(6)))


@given(steps=st.integers(10, 5_000))
def test_the_learning_rate_rises_stays_and_falls_to_its_last_share(steps):
    recipe = Recipe(warmup_steps=1)
    warmth = [recipe.warmth(step, steps) for step in range(steps)]
    assert warmth == sorted(warmth, reverse=True)
    assert max(warmth) <= 1
    stays = int(recipe.decay_from * steps)
    assert warmth[max(0, stays - 1)] == pytest.approx(1, abs=1e-9)
    assert recipe.last_rate <= warmth[-1] <= recipe.last_rate + 4 / steps
    assert Recipe(warmup_steps=50).warmth(0, steps) == pytest.approx(1 / 50)


def forget_bias(variant: str) -> float:
    net = Network(a_fit(variant=variant), Adding(6)).cell.net
    both = net.bias_ih_l0 + net.bias_hh_l0
    (bias,) = set(both[net.hidden_size : 2 * net.hidden_size].tolist())
    return bias


def test_variants_differ_from_their_cell_in_what_they_say():
    assert (forget_bias("lstm"), forget_bias("lstm-b0")) == (1.0, 0.0)
    torch.manual_seed(0)
    plain = Network(a_fit(variant="rnn"), Adding(6)).cell.net
    torch.manual_seed(0)
    loud = Network(a_fit(variant="rnn-loud"), Adding(6)).cell.net
    assert torch.equal(loud.weight_hh_l0, 2 * plain.weight_hh_l0)
    assert torch.equal(loud.weight_ih_l0, plain.weight_ih_l0)


def test_what_is_not_clipped_moves_as_its_gradient_says():
    """Adam hides the length of a gradient, but not how it changes from update to update."""

    def norms(variant):
        result = run(a_fit(variant=variant, hidden=20))
        return result.curve[1].gradient_norm, result.loss

    clipped, free = norms("rnn-loud"), norms("rnn-loud-unclipped")
    assert clipped[0] > 1
    assert clipped[1] != free[1]


@pytest.mark.parametrize("variant", ["rnn", "lstm-b0", "gru"])
def test_the_norms_by_lag_are_those_of_the_derivatives(variant):
    task, step = Adding(5), 1e-6
    network = Network(a_fit(variant=variant, hidden=3, length=5), task).double()
    batch = task.batch(gradients.ROWS, torch.Generator().manual_seed(gradients.HELD_OUT_SEED))
    x, targets = batch.x.double(), batch.targets.double()

    class Doubled(Adding):
        def batch(self, rows, generator):
            return Batch(x, targets)

    found = gradients.by_lag(network, Doubled(5))
    for kind, norms in found.items():
        for lag, norm in enumerate(norms, 1):
            carry, _ = network(network.initial_carry(gradients.ROWS), x[:, : 5 - lag])

            def losses(carry, lag=lag):
                _, y = network(carry, x[:, 5 - lag :])
                return (y[:, -1] - targets).square()[:, 0]

            squares = torch.zeros(gradients.ROWS, dtype=torch.float64)
            for unit in range(3):
                off = torch.zeros(3, dtype=torch.float64)
                off[unit] = step
                up = losses({**carry, f"{kind}0": carry[f"{kind}0"] + off})
                down = losses({**carry, f"{kind}0": carry[f"{kind}0"] - off})
                squares += ((up - down) / (2 * step)).square()
            assert norm == pytest.approx(squares.sqrt().mean().item(), rel=1e-4)


def full_fits() -> list[Fit]:
    return [fit for fit in all_fits(FULL, 1, {CHARACTERS: VOCABULARY}) if fit.seed == 0]


def test_all_architectures_of_a_task_have_as_many_parameters():
    for fit in full_fits():
        with torch.device("meta"):
            if fit.is_text:
                model = LanguageModel(text_shape(fit, VOCABULARY))
            else:
                model = Network(fit, tasks()[fit.task](fit.length))
        target = FULL.tasks[fit.task].parameters
        assert count(model) == pytest.approx(target, rel=0.06), fit.name


@pytest.mark.parametrize("variant", ["tcn", "attention"])
@pytest.mark.parametrize("length", [25, 200])
def test_whoever_reaches_back_so_far_only_reaches_the_first_step(variant, length):
    fit = sequence_fit("adding", length, VARIANTS[variant], 0, FULL.tasks["adding"])
    torch.manual_seed(0)
    network = Network(fit, Adding(length))
    x = torch.rand(8, length, 2)
    other = x.clone()
    other[:, 0] += 10
    last, others = network.answer(x)[:, -1], network.answer(other)[:, -1]
    assert not torch.equal(last, others)


def test_every_seed_has_the_same_fits_and_budgets():
    fits = list(all_fits(FULL, 3, {}))
    plain = [{replace(f, seed=0).name: f.steps for f in fits if f.seed == seed} for seed in (0, 1)]
    assert plain[0] == plain[1]
    assert len({fit.name for fit in fits}) == len(fits)
