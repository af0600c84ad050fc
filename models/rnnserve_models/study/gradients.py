"""Where gradients go: how large the loss's gradient still is at carries of long ago.

For a loss at step T alone, the norm of dL/dh at step T - lag, lag 1 being the carry that goes into
the last step.  The sequence is run step by step, so that every carry is an array of its own that a
gradient can be asked of; the LSTM's cell c is asked as well as its h.  Vanishing and exploding:
Hochreiter (1991), Bengio, Simard & Frasconi (1994), Pascanu, Mikolov & Bengio (2013).
"""

from __future__ import annotations

import torch
from torch import Tensor

from rnnserve_models.cells import Carry
from rnnserve_models.study.fit import GradientNorms
from rnnserve_models.study.network import Network
from rnnserve_models.study.tasks import HELD_OUT_SEED, Batch, Task

ROWS = 16


def by_lag(network: Network, task: Task) -> GradientNorms:
    """Mean norms over a few held-out rows, by kind of carry, at lags 1 to T - 1.

    A kind's norm is taken over all its layers together.
    """
    batch = task.batch(ROWS, torch.Generator().manual_seed(HELD_OUT_SEED))
    carries = _carries(network, task, batch)
    kinds = sorted({name.rstrip("0123456789") for name in carries[0]}, reverse=True)
    return {
        kind: tuple(_mean_norm(carry, kind).item() for carry in reversed(carries)) for kind in kinds
    }


def _carries(network: Network, task: Task, batch: Batch) -> list[Carry]:
    """The carry after every step but the last, each with its gradient."""
    carry, carries = network.initial_carry(ROWS), []
    for step in range(task.steps - 1):
        carry, _ = network(carry, batch.x[:, step : step + 1])
        for entry in carry.values():
            entry.retain_grad()
        carries.append(carry)
    _, y = network(carry, batch.x[:, -1:])  # (B, 1, O)
    # The sum over the rows, so that each row's gradient is that of its own loss.
    loss = ROWS * task.loss(y, batch.targets)
    torch.autograd.backward(loss)
    network.zero_grad()
    return carries


def _mean_norm(carry: Carry, kind: str) -> Tensor:
    squares = [
        torch.zeros(ROWS) if entry.grad is None else entry.grad.flatten(1).square().sum(dim=1)
        for name, entry in carry.items()
        if name.rstrip("0123456789") == kind
    ]
    return torch.stack(squares).sum(dim=0).sqrt().mean()
