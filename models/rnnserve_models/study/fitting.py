"""A fit from its first update to its result: one recipe for every architecture, one thread."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from itertools import islice

import torch
from torch import nn

from rnnserve_models.parameters import count
from rnnserve_models.study import gradients
from rnnserve_models.study.fit import Ended, Fit, GradientNorms, Point, Recipe, Result
from rnnserve_models.study.network import Network
from rnnserve_models.study.tasks import Score, Task, tasks
from rnnserve_models.study.variants import VARIANTS

CHECK_BATCHES = 6
"""Held-out batches that are looked at on the way; all of them at the end."""

OnProgress = Callable[[float], None]
"""Hears the share of the updates that is done."""


def run_fit(fit: Fit, recipe: Recipe, probe: bool, on_progress: OnProgress) -> Result:
    """Train as the fit says.

    `probe`: look at the gradients by lag, before and after.
    """
    task = tasks()[fit.task](fit.length)
    torch.manual_seed(fit.seed)
    fitting = Fitting(fit, recipe, task, Network(fit, task))
    found: dict[str, GradientNorms] = {}
    if probe:
        found["before"] = gradients.by_lag(fitting.network, task)
    ended = fitting.run(on_progress)
    if probe and ended is not Ended.DIVERGED:
        found["after"] = gradients.by_lag(fitting.network, task)
    score, seconds = fitting.score, fitting.seconds
    if ended is not Ended.DIVERGED:
        score = held_out_score(fitting.network, task)
    return Result(
        fit=fit,
        parameters=count(fitting.network),
        steps_done=fitting.step,
        seconds=seconds,
        inputs_per_s=fitting.step * recipe.batch * task.steps / max(seconds, 1e-9),
        ended=ended,
        loss=score.loss,
        baseline=task.baseline,
        solved_below=task.solved_below,
        success=score.success,
        curve=tuple(fitting.curve),
        gradients=found,
    )


class Fitting:
    """A network while it learns.

    Attributes:
        step: updates done.
        seconds: spent on them.
        score: the latest, on a part of what is held out.
        curve: a point for every time that the score was taken.
    """

    def __init__(self, fit: Fit, recipe: Recipe, task: Task, network: Network) -> None:
        self.network, self.step, self.seconds = network, 0, 0.0
        self._fit, self._recipe, self._task = fit, recipe, task
        self._clip = VARIANTS[fit.variant].clip
        self._parameters = list(network.parameters())
        self._optimizer = torch.optim.Adam(
            self._parameters, lr=recipe.learning_rate, betas=(0.9, 0.99), fused=True
        )
        # Not torch's own: cells draw different amounts for their weights, and the examples are to
        # be the same for all of them.
        self._examples = torch.Generator().manual_seed(fit.seed)
        self.score = held_out_score(network, task, CHECK_BATCHES)
        checked = [task.trivial_loss(batch) for batch in islice(task.held_out(), CHECK_BATCHES)]
        self._trivial_loss = math.fsum(checked) / len(checked)
        self.curve = [Point(0, math.nan, self.score.loss, math.nan)]

    def run(self, on_progress: OnProgress) -> Ended:
        """Learn until there is a reason to end."""
        steps = self._fit.steps
        pause = max(1, steps // self._recipe.evaluations)
        while self.step < steps:
            losses, norms = [], []
            for _ in range(min(pause, steps - self.step)):
                loss, norm = self.advance()
                if not math.isfinite(loss):
                    return Ended.DIVERGED
                losses.append(loss)
                norms.append(norm)
                on_progress(self.step / steps)
            score = held_out_score(self.network, self._task, CHECK_BATCHES)
            if not math.isfinite(score.loss):
                return Ended.DIVERGED
            self.score = score
            mean_loss = math.fsum(losses) / len(losses)
            self.curve.append(Point(self.step, mean_loss, score.loss, max(norms)))
            if (reason := self._reason_to_end()) is not None:
                return reason
        return Ended.BUDGET

    def advance(self) -> tuple[float, float]:
        """One update; the loss before it, and the gradient's norm before it was clipped."""
        began_s = time.process_time()
        recipe = self._recipe
        warmth = recipe.warmth(self.step, self._fit.steps)
        for group in self._optimizer.param_groups:
            group["lr"] = recipe.learning_rate * warmth
        batch = self._task.batch(recipe.batch, self._examples)
        loss = self._task.loss(self.network.answer(batch.x), batch.targets)
        self._optimizer.zero_grad()
        torch.autograd.backward(loss)
        norm = nn.utils.get_total_norm([p.grad for p in self._parameters if p.grad is not None])
        if self._clip is not None:
            nn.utils.clip_grads_with_norm_(self._parameters, self._clip, norm)
        self._optimizer.step()
        self.step += 1
        self.seconds += time.process_time() - began_s
        return loss.item(), norm.item()

    def _reason_to_end(self) -> Ended | None:
        recipe, task = self._recipe, self._task
        if self.score.loss < recipe.solved_margin * task.solved_below:
            return Ended.SOLVED
        late = self.step >= recipe.decay_from * self._fit.steps
        if task.solved_below and late and self._has_converged_to_trivial():
            return Ended.STUCK
        return None

    def _has_converged_to_trivial(self) -> bool:
        best = min(point.held_out_loss for point in self.curve) / self._trivial_loss
        now = self.score.loss / self._trivial_loss
        return best > self._recipe.left_below and now < self._recipe.arrived_below


@torch.inference_mode()
def held_out_score(network: Network, task: Task, batches: int | None = None) -> Score:
    """Over all that the task holds out or its first batches, row by row alike."""
    loss = success = rows = 0.0
    for batch in islice(task.held_out(), batches):
        y = network.answer(batch.x)
        loss += task.loss(y, batch.targets).item() * len(batch.x)
        success += task.success(y, batch.targets) * len(batch.x)
        rows += len(batch.x)
    return Score(loss / rows, success / rows)
