"""What is compared: the six architectures, and a few of them changed in one respect.

A variant is a cell of `rnnserve_models.cells.CELLS` and how it begins and is trained. The variants
answer one question each: what the LSTM's forget bias does (Gers 2000, Jozefowicz 2015), what
clipping does (Pascanu 2013), and what a recurrent matrix does that is too large.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import nn

from rnnserve_models.cells import FusedCell

CLIP = 1.0
LOUD = 2.0


@dataclass(frozen=True)
class Variant:
    """One thing that is compared with the others.

    Attributes:
        name: in results and file names.
        title: for people.
        cell: its name in `CELLS`.
        forget_bias: the total bias of the LSTM's forget gate; None leaves the cell's own.
        recurrent_gain: what the recurrent matrices are multiplied with before training.
        clip: the largest norm of a gradient; None leaves every gradient as it is.
    """

    name: str
    title: str
    cell: str
    forget_bias: float | None = None
    recurrent_gain: float = 1.0
    clip: float | None = CLIP

    def prepare(self, cell: nn.Module) -> None:
        """Turn a cell that has just been made into one of this variant."""
        if self.forget_bias is None and self.recurrent_gain == 1.0:
            return
        net = cast(FusedCell, cell).net
        with torch.no_grad():
            for name, weight in net.named_parameters():
                if "weight_hh" in name:
                    weight.mul_(self.recurrent_gain)
                if self.forget_bias is not None and "bias_" in name:
                    # torch adds two biases: the other one stays zero.
                    bias = self.forget_bias if "bias_ih" in name else 0.0
                    weight[net.hidden_size : 2 * net.hidden_size] = bias


ARCHITECTURES = (
    Variant("rnn", "RNN", "rnn"),
    Variant("lstm", "LSTM", "lstm"),
    Variant("gru", "GRU", "gru"),
    Variant("tcn", "TCN", "tcn"),
    Variant("attention", "attention", "attention"),
    Variant("mingru", "minGRU", "mingru"),
)
"""One for each cell, as it is trained and served everywhere else in the project."""

NO_FORGET_BIAS = Variant("lstm-b0", "LSTM, forget bias 0", "lstm", forget_bias=0.0)

UNCLIPPED = (
    Variant("rnn-unclipped", "RNN, not clipped", "rnn", clip=None),
    Variant("lstm-unclipped", "LSTM, not clipped", "lstm", clip=None),
)
LOUD_RNN = Variant("rnn-loud", "RNN, weights x 2", "rnn", recurrent_gain=LOUD)
LOUD_UNCLIPPED = Variant(
    "rnn-loud-unclipped", "RNN, weights x 2, not clipped", "rnn", recurrent_gain=LOUD, clip=None
)

FOR_MEMORY = (*ARCHITECTURES, NO_FORGET_BIAS)
"""Who answers how far back something is remembered."""
FOR_CLIPPING = (*UNCLIPPED, LOUD_RNN, LOUD_UNCLIPPED)
"""Who answers what clipping does, beside the architectures of the same names."""
FOR_GRADIENTS = ("rnn", LOUD_RNN.name, NO_FORGET_BIAS.name, "lstm", "gru")
"""Whose gradients are looked at by lag."""

VARIANTS = {variant.name: variant for variant in (*FOR_MEMORY, *FOR_CLIPPING)}
