"""How many parameters a module has, and which width gives as many as asked for."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn


def count(module: nn.Module) -> int:
    """Numbers that training may change."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


def hidden_for(parameters: int, build: Callable[[int], nn.Module]) -> int:
    """The hidden size that comes nearest to so many parameters; of two as near, the smaller.

    Args:
        parameters: how many the module should have.
        build: the module of a hidden size >= 1; more units must never give fewer parameters.
            It is built without memory for its weights, so the search is quick.
    """

    def counted(hidden: int) -> int:
        with torch.device("meta"):
            return count(build(hidden))

    below, above = 1, 2
    while counted(above) < parameters:
        below, above = above, 2 * above
    while above - below > 1:
        middle = (below + above) // 2
        below, above = (middle, above) if counted(middle) < parameters else (below, middle)
    return min(below, above, key=lambda hidden: (abs(counted(hidden) - parameters), hidden))
