"""Modules as somebody else would write them: some that can be streamed, some that can't."""

from functools import cache
from typing import ClassVar

import torch
from torch import Tensor, nn

from rnnserve_export import export_module
from rnnserve_export.publish import Published

WIDTH = 4
Carry = dict[str, Tensor]
READINGS = torch.randn(3, 30, WIDTH, generator=torch.Generator().manual_seed(0))


class Everything(nn.Module):
    """A convolution with its window, recurrent layers of each kind, a counter, three outputs."""

    states: ClassVar = {
        "window": torch.zeros(2, WIDTH),
        "g": torch.zeros(2, 6),
        "h": torch.zeros(5),
        "c": torch.zeros(5),
        "r": torch.zeros(3),
        "steps": torch.zeros((), dtype=torch.int64),
    }

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(WIDTH, 8, 3)
        self.gru = nn.GRU(8, 6, 2, batch_first=True, dropout=0.5)
        self.lstm = nn.LSTM(6, 5, batch_first=True, bias=False)
        self.rnn = nn.RNN(5, 3, nonlinearity="relu")
        self.head = nn.Linear(3, 2)
        self.dropout = nn.Dropout(0.5)

    def forward(self, carry: Carry, x: Tensor) -> tuple[Carry, dict[str, Tensor]]:
        line = torch.cat([carry["window"], x], dim=1)
        y = torch.relu(self.conv(line.transpose(1, 2)).transpose(1, 2))
        before = [carry["g"][:, layer] for layer in range(self.gru.num_layers)]
        y, g = self.gru(self.dropout(y), hx=torch.stack(before))
        y, (h, c) = self.lstm(y, (carry["h"][None], carry["c"][None]))
        y, r = self.rnn(y.transpose(0, 1), carry["r"][None])
        y = y.transpose(0, 1)
        # Shapes of what recurrent layers gave: torch's own exporter freezes their length.
        halves = self.head(y.reshape(y.shape[0] * y.shape[1], 3)).unflatten(0, y.shape[:2])
        after = {"window": line[:, -2:], "g": g.transpose(0, 1), "h": h[0], "c": c[0], "r": r[0]}
        after["steps"] = carry["steps"] + x.shape[1]
        step = carry["steps"][:, None] + torch.arange(x.shape[1])
        return after, {"scores": halves.softmax(-1), "mean": y.mean(2), "step": step}


class OneStep(nn.Module):
    """One step a call, written with a cell."""

    states: ClassVar = {"h": torch.zeros(WIDTH)}

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRUCell(WIDTH, WIDTH)

    def forward(self, carry: Carry, x: Tensor) -> tuple[Carry, Tensor]:
        h = self.cell(x, carry["h"])
        return {"h": h}, h


class Tokens(nn.Module):
    """Two inputs of whole numbers and a bool; a state handed on as it is, an output twice."""

    states: ClassVar = {"sum": torch.zeros(3), "kept": torch.zeros(2)}

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, 3)

    def forward(self, carry: Carry, word: Tensor, *, add: Tensor, on: Tensor) -> tuple:
        y = self.embedding(word) * on[..., None] + add[..., None]
        y = carry["sum"][:, None] + y.cumsum(1)
        return {"sum": y[:, -1], "kept": carry["kept"]}, (y, y, word)


class Bare(nn.Module):
    """What a function says; a hidden state h (N, 4)."""

    states: ClassVar = {"h": torch.zeros(WIDTH)}

    def __init__(self, function) -> None:
        super().__init__()
        self.function = function
        self.conv = nn.Conv1d(WIDTH, WIDTH, 3)
        self.cell = nn.GRUCell(WIDTH, WIDTH)
        self.both_ways = nn.LSTM(WIDTH, 2, batch_first=True, bidirectional=True)

    def forward(self, carry: Carry, x: Tensor) -> tuple[Carry, Tensor]:
        h, y = self.function(self, carry["h"], x)
        return {"h": h}, y


def looks_ahead(module, h, x):
    y, _ = module.both_ways(x)
    return h, y


def centres_its_window(module, h, x):
    line = nn.functional.pad(x.transpose(1, 2), (1, 1))
    return h, module.conv(line).transpose(1, 2)


def forgets_its_window(module, h, x):
    line = nn.functional.pad(x.transpose(1, 2), (2, 0))
    return h, module.conv(line).transpose(1, 2)


def mixes_rows(module, h, x):
    return h, x - x.mean(0)


def grows(module, h, x):
    return torch.cat([h, x[:, -1]], dim=1), x


def becomes_double(module, h, x):
    return h.double(), x


def draws_lots(module, h, x):
    return h, x + torch.randn_like(x)


def remembers(module, h, x):
    module.calls = getattr(module, "calls", 0) + 1
    return h, x * module.calls


def takes_the_root(module, h, x):
    return h, x.sqrt()


def sums_up(module, h, x):
    return h, x.sum(1)


def wants_two_steps(module, h, x):
    if x.shape[1] == 1:
        raise ValueError("too short")
    return h, x


def branches(module, h, x):
    return h, (x.clamp(-1, 1) if x.abs().max() > 1e9 else x)


def loops(module, h, x):
    ys = []
    for t in range(x.shape[1]):
        h = module.cell(x[:, t], h)
        ys.append(h)
    return h, torch.stack(ys, 1)


def knows_its_rows(module, h, x):
    ones = [torch.ones(1, 1, WIDTH) for _ in x]
    return h, x + torch.cat(ones)


def writes_into_its_carry(module, h, x):
    y = h[:, None] + x.cumsum(1)
    h += x.sum(1)
    return h, y


@cache
def made(kind, *arguments):
    """A module whose weights are always the same; one for all who ask."""
    torch.manual_seed(1)
    return kind(*arguments)


def exported(function, repository, **more) -> Published:
    """Export what the function says."""
    module = made(Bare, function)
    given = {"states": module.states, "repository": repository, "name": "m"} | more
    return export_module(module, READINGS, **given)
