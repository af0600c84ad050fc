"""Truncated backpropagation's diet: text cut in lanes, read window by window.

A batch of B rows reads B lanes of the text side by side, so that the carry after one window is the
carry before the next.  Each epoch turns the text by a random offset before cutting it, so that the
windows' edges fall elsewhere; what is read at a step depends on the step and the seed alone, and a
resumed run needs no position but the step.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rnnserve_models.errors import CorpusError

Tokens = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Window:
    """What one training step reads.

    Attributes:
        inputs, targets: (B, T) int64; the targets are the inputs one step on.
        fresh: whether the lanes begin here, so that the carry before is the initial one.
    """

    inputs: Tensor
    targets: Tensor
    fresh: bool


class Lanes:
    """A text (N,) as an endless row of windows.

    Raises:
        CorpusError: the text is too short to fill one window.
    """

    def __init__(self, tokens: Tokens, batch: int, window: int, seed: int) -> None:
        self.windows_per_epoch = (len(tokens) - 1) // batch // window
        if self.windows_per_epoch < 1:
            raise CorpusError(
                f"the training text has {len(tokens)} characters, and one step of {batch} rows and"
                f" {window} characters needs {batch * window + 1}: give a longer text, or a"
                " smaller --batch or --window"
            )
        self._tokens, self._batch, self._window, self._seed = tokens, batch, window, seed
        self._epoch = -1
        self._lanes = torch.empty(0)

    def window(self, step: int) -> Window:
        """What training step `step` reads, counted from 0."""
        epoch, index = divmod(step, self.windows_per_epoch)
        if epoch != self._epoch:
            self._epoch, self._lanes = epoch, self._cut(epoch)
        start, stop = index * self._window, (index + 1) * self._window
        lanes = self._lanes
        return Window(lanes[:, start:stop], lanes[:, start + 1 : stop + 1], fresh=index == 0)

    def _cut(self, epoch: int) -> Tensor:
        offset = np.random.default_rng([self._seed, epoch]).integers(len(self._tokens))
        turned = np.roll(self._tokens, -int(offset))
        length = (len(turned) - 1) // self._batch
        starts = np.arange(self._batch)[:, None] * length  # (B, 1)
        steps = np.arange(self.windows_per_epoch * self._window + 1)  # (T + 1,)
        return torch.from_numpy(turned[starts + steps])  # (B, T + 1)
