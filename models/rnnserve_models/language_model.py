"""The character model: an embedding, a cell, and a linear readout."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor, nn

from rnnserve_models.cell_options import HEADS, KERNEL, OWN_OPTIONS, WINDOW_STEPS, misplaced
from rnnserve_models.cells import CELLS, Carry, CarryShape, Cell


@dataclass(frozen=True, kw_only=True)
class ModelShape:
    """All it takes to build a `LanguageModel`; goes through JSON and the checkpoint unchanged.

    `dropout` acts on the embedding, between the layers and before the readout, in training only;
    TCN and attention have it on the branches of each layer instead of between them.
    `kernel` is for TCN alone, `heads` and `attention_window` for attention alone.
    """

    cell: str
    vocabulary: int
    embedding: int
    hidden: int
    layers: int
    dropout: float = 0.0
    kernel: int = KERNEL
    heads: int = HEADS
    attention_window: int = WINDOW_STEPS

    def __post_init__(self) -> None:
        if self.cell not in CELLS:
            raise ValueError(f"no cell is called {self.cell!r}; there are {', '.join(CELLS)}")
        for name, owner in misplaced(self.cell, self.as_dict()):
            raise ValueError(f"{name} is for the cell {owner}, not for {self.cell}")

    @property
    def own_options(self) -> dict[str, int]:
        """What this cell takes beyond what every cell takes."""
        return {name: getattr(self, name) for name in OWN_OPTIONS.get(self.cell, {})}

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON and for the checkpoint; `ModelShape(**it)` is equal again."""
        return asdict(self)


class LanguageModel(nn.Module):
    """`(carry, tokens) -> (carry, logits)`: the next token's logits after every token.

    Attributes:
        shape: what it was built from.
        embedding: (V, E).
        cell: the only part that knows what is in the carry.
        readout: W_hy (V, H) and b_y (V,).
    """

    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = nn.Embedding(shape.vocabulary, shape.embedding)
        # torch refuses dropout between layers where there is only one layer.
        between = shape.dropout if shape.layers > 1 else 0.0
        self.cell: Cell = CELLS[shape.cell](
            shape.embedding, shape.hidden, shape.layers, between, **shape.own_options
        )
        self.readout = nn.Linear(self.cell.output_width, shape.vocabulary)
        self.dropout = nn.Dropout(shape.dropout)

    def carry_shapes(self) -> dict[str, CarryShape]:
        """The cell's carry, entry by entry."""
        return self.cell.carry_shapes()

    def initial_carry(self, batch: int) -> Carry:
        """The carry before the first token, for `batch` rows."""
        return self.cell.initial_carry(batch)

    def forward(self, carry: Carry, tokens: Tensor) -> tuple[Carry, Tensor]:
        """Run tokens (B, T) int64; return the carry after the last and logits (B, T, V).

        Raises:
            IndexError: a token is not in the vocabulary.
        """
        x = self.dropout(self.embedding(tokens))  # (B, T, E)
        carry, y = self.cell(carry, x)  # (B, T, H)
        return carry, self.readout(self.dropout(y))  # (B, T, V)
