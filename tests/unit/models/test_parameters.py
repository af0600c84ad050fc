"""Equal parameter counts for unequal architectures."""

from __future__ import annotations

import pytest
from torch import nn

from rnnserve_models.cells import CELLS
from rnnserve_models.parameters import count, hidden_for


@pytest.mark.parametrize("cell", sorted(CELLS))
@pytest.mark.parametrize("parameters", [1, 2_000, 50_000, 1_000_000])
def test_no_other_hidden_size_comes_nearer(cell, parameters):
    def build(hidden: int) -> nn.Module:
        return CELLS[cell](5, hidden, 2, 0.0)

    hidden = hidden_for(parameters, build)
    distances = {
        other: abs(count(build(other)) - parameters)
        for other in range(max(1, hidden - 9), hidden + 10)
    }
    assert hidden == min(distances, key=lambda other: (distances[other], other))


def test_the_search_takes_no_memory_for_weights():
    # Ten billion parameters would be forty gigabytes.
    assert hidden_for(10**10, lambda hidden: nn.Linear(hidden, hidden, bias=False)) == 10**5


def test_only_what_training_may_change_is_counted():
    module = nn.Linear(3, 2)
    module.bias.requires_grad_(False)
    assert count(module) == 6
