"""What serving an architecture costs: the facts, and the form of what measures them.

Learning knows nothing of serving: whoever runs a study brings the measure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from rnnserve_models.language_model import LanguageModel


@dataclass(frozen=True, kw_only=True)
class ServingCost:
    """One architecture as a language model, stepped on one core.

    Attributes:
        name: the variant's.
        parameters: of the whole model.
        carry_bytes: what a session keeps.
        step_us: by rows in a batch, the time of a run of one step of them all.
        block_us: by rows, the time of a run of `block_steps` steps of them all.
        block_steps: the steps of such a block.
        history_us: by steps taken before, the time of one more step of one row with its carry.
        again_us: by steps taken before, the time of the same without a carry: all of them again.
    """

    name: str
    parameters: int
    carry_bytes: int
    step_us: dict[int, float]
    block_us: dict[int, float]
    block_steps: int
    history_us: dict[int, float]
    again_us: dict[int, float]

    def token_us(self, rows: int) -> float:
        """The time of a token when so many rows step together."""
        return self.step_us[rows] / rows

    def tokens_per_s(self, rows: int) -> float:
        """Tokens a second of one core when so many rows step together."""
        return 1e6 / self.token_us(rows)

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> ServingCost:
        """The inverse of `as_dict`; JSON has turned the numbers of rows to text."""
        return cls(**{name: _numbered(value) for name, value in plain.items()})


def _numbered(value: Any) -> Any:
    return {int(key): one for key, one in value.items()} if isinstance(value, dict) else value


WINDOW = "attention-window-"
"""How the models are called that differ from attention in the window alone."""


@dataclass(frozen=True, kw_only=True)
class ServingTerms:
    """What is to be measured, for all models alike.

    Attributes:
        seconds: to spend on it in all, about.
        histories: the numbers of steps before the one whose cost is measured.
        rows: the batches.
        block_steps: of the runs of several steps.
    """

    seconds: float
    histories: tuple[int, ...]
    rows: tuple[int, ...] = (1, 16, 64)
    block_steps: int = 64


OnMeasured = Callable[[float], None]
"""Hears the share that is measured; it may raise to stop the measuring."""

MeasureServing = Callable[
    [Mapping[str, LanguageModel], ServingTerms, OnMeasured], list[ServingCost]
]
"""`(models by name, terms, on_measured) -> costs`, in the models' order."""
