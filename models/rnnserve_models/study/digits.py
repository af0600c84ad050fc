"""Sequential digits: scikit-learn's bundled 8 x 8 images, one pixel a step, and the same permuted.

They stand in for the sequential MNIST of Le, Jaitly & Hinton (2015), which is a download: 1,797
images of handwritten digits (Alpaydin & Kaynak 1998), 64 steps instead of 784. One permutation of
the pixels, the same for all images, takes neighbours apart and makes the way between them long.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache

import numpy as np
import torch
from torch import Tensor, nn

from rnnserve_models.study.tasks import HELD_OUT_SEED, Batch

PIXELS, CLASSES, WHITE = 64, 10, 16
HELD_OUT_SHARE, HELD_OUT_ROWS = 0.2, 64


class SequentialDigits:
    """Pixel by pixel, row by row from the top. Targets are the digits (B,) int64."""

    name, inputs, outputs = "digits", 1, CLASSES
    steps = length = PIXELS
    baseline = math.log(CLASSES)
    solved_below = 0.0

    def __init__(self, length: int = PIXELS) -> None:
        if length != PIXELS:
            raise ValueError(f"an image has {PIXELS} pixels, not {length}")
        self._order = self._permutation()
        self._images, self._digits = _shuffled()
        self._held_out = int(len(self._digits) * HELD_OUT_SHARE)

    def _permutation(self) -> Tensor:
        return torch.arange(PIXELS)

    def batch(self, rows: int, generator: torch.Generator) -> Batch:
        learnt = len(self._digits) - self._held_out
        picked = torch.randint(0, learnt, (rows,), generator=generator)
        return self._batch(self._held_out + picked)

    def held_out(self) -> Iterator[Batch]:
        for first in range(0, self._held_out, HELD_OUT_ROWS):
            last = min(first + HELD_OUT_ROWS, self._held_out)
            yield self._batch(torch.arange(first, last))

    def _batch(self, places: Tensor) -> Batch:
        x = self._images[places][:, self._order, None]  # (B, T, 1)
        return Batch(x, self._digits[places])

    def trivial_loss(self, batch: Batch) -> float:
        return self.baseline

    def loss(self, y: Tensor, targets: Tensor) -> Tensor:
        return nn.functional.cross_entropy(y[:, -1], targets)

    def success(self, y: Tensor, targets: Tensor) -> float:
        """The share of images whose digit came out right."""
        return (y[:, -1].argmax(dim=-1) == targets).float().mean().item()


class PermutedDigits(SequentialDigits):
    """Pixel by pixel in one random order."""

    name = "permuted"

    def _permutation(self) -> Tensor:
        return torch.randperm(PIXELS, generator=torch.Generator().manual_seed(HELD_OUT_SEED))


@cache
def _shuffled() -> tuple[Tensor, Tensor]:
    """Images (N, T) from 0 to 1 and digits (N,), in an order that is always the same."""
    from sklearn.datasets import load_digits  # type: ignore[import-untyped]

    found = load_digits()
    order = np.random.default_rng(HELD_OUT_SEED).permutation(len(found.target))
    images = torch.from_numpy(found.data[order]).float() / WHITE
    return images, torch.from_numpy(found.target[order]).long()
