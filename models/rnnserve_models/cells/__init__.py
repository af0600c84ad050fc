"""Every cell by name.  One of another kind is a file in this folder and a line in `CELLS`."""

from __future__ import annotations

from collections.abc import Callable

from rnnserve_models.cells.attention import Attention
from rnnserve_models.cells.fused import GRU, LSTM, RNN, FusedCell
from rnnserve_models.cells.mingru import MinGRU
from rnnserve_models.cells.protocol import Carry, CarryShape, Cell
from rnnserve_models.cells.tcn import TCN

__all__ = [
    "CELLS",
    "Attention",
    "Carry",
    "CarryShape",
    "Cell",
    "FusedCell",
    "GRU",
    "LSTM",
    "MinGRU",
    "RNN",
    "TCN",
]

CELLS: dict[str, Callable[..., Cell]] = {
    "rnn": RNN,
    "lstm": LSTM,
    "gru": GRU,
    "tcn": TCN,
    "attention": Attention,
    "mingru": MinGRU,
}
"""`(width, hidden, layers, dropout) -> Cell`, and by keyword what `cell_options` names."""
