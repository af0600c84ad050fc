"""The linear recurrence h_t = a_t h_{t-1} + b_t, element by element, over all T steps of a call.

Theory of operation: the T steps are cut into about sqrt(T) runs of sqrt(T) steps.  All runs go
forward side by side as if each began with zero, keeping the product of their a; then the true h is
handed from run to run; then each step adds its product times the h that its run began with.  That
is 2 sqrt(T) operations one after the other instead of T, and twice the arithmetic.  For a in [0, 1]
it only multiplies and adds numbers that do not grow, so float32 stays exact where the quotients of
cumulative products overflow and where sums of logarithms lose digits as T grows.

The derivative of a linear recurrence is the same recurrence backwards in time.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch._higher_order_ops.scan import scan
from torch.autograd.function import once_differentiable


def linear_recurrence(h: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """h (B, H) before the first step, a and b (B, T, H), T >= 1: h after each step (B, T, H)."""
    if torch.compiler.is_exporting():
        return _stepwise(h, a, b)
    y: Tensor = _Recurrence.apply(h, a, b)  # type: ignore[no-untyped-call]
    return y


def _stepwise(h: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """The form for a graph, where T is free and mostly 1: the operator Scan."""

    def step(h: Tensor, drive: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        h = drive[0] * h + drive[1]
        return h, h.clone()

    y: Tensor
    _, y = scan(step, h, (a.transpose(0, 1), b.transpose(0, 1)), dim=0)
    return y.transpose(0, 1)


class _Recurrence(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, h: Tensor, a: Tensor, b: Tensor) -> Tensor:
        y = _in_runs(h, a, b)
        ctx.save_for_backward(h, a, y)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        h, a, y = ctx.saved_tensors
        # of h_t: what y_t asks for, and a_{t+1} times what h_{t+1} asks for.
        a_next = torch.cat([a[:, 1:], torch.zeros_like(a[:, :1])], dim=1)
        of_b = _in_runs(torch.zeros_like(h), a_next.flip(1), of_y.flip(1)).flip(1)
        before = torch.cat([h[:, None], y[:, :-1]], dim=1)  # (B, T, H)
        return a[:, 0] * of_b[:, 0], before * of_b, of_b


def _in_runs(h: Tensor, a: Tensor, b: Tensor) -> Tensor:
    B, T, H = a.shape
    steps = math.isqrt(T - 1) + 1
    runs = -(-T // steps)
    shape = (B, runs, steps, H)
    kept = a.new_zeros(B, runs * steps, H)
    y = torch.zeros_like(kept)
    kept[:, :T], y[:, :T] = a, b
    kept, y = kept.view(shape), y.view(shape)
    for step in range(1, steps):
        y[:, :, step].addcmul_(kept[:, :, step], y[:, :, step - 1])
        kept[:, :, step] *= kept[:, :, step - 1]
    starts = torch.empty_like(y[:, :, 0])  # (B, runs, H): h before each run
    for run in range(runs):
        starts[:, run] = h
        h = torch.addcmul(y[:, run, -1], kept[:, run, -1], h)
    y.addcmul_(kept, starts[:, :, None])
    return y.view(B, runs * steps, H)[:, :T]
