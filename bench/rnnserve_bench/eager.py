"""torch in eager mode: what a server would have that steps the trained module as it is."""

from functools import cache
from typing import Any

import torch

from rnnserve_bench.load import Span
from rnnserve_bench.models import BenchModel, torch_model
from rnnserve_bench.raw import repeat, tokens
from rnnserve_bench.sample import Sample


def measure(model: BenchModel, rows: int, block_steps: int, span: Span) -> Sample:
    """Blocks of `block_steps` for `rows` rows, one after the other; one thread."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    network = _network(model)
    chunk = torch.from_numpy(tokens(rows, block_steps, network.shape.vocabulary))  # (B, T)
    carry = network.initial_carry(rows)

    def once() -> None:
        nonlocal carry
        carry, _ = network(carry, chunk)

    with torch.inference_mode():
        return repeat(once, rows * block_steps, span)


@cache
def _network(model: BenchModel) -> Any:
    return torch_model(model)
