"""Every option of `rnnserve train`, defined once: name, type, limits, default and help."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter, validators

from rnnserve_models.cell_options import HEADS, KERNEL, WINDOW_STEPS
from rnnserve_models.errors import RunError

Count = Annotated[int, Parameter(validator=validators.Number(gte=1))]
Fraction = Annotated[float, Parameter(validator=validators.Number(gte=0, lt=1))]
Positive = Annotated[float, Parameter(validator=validators.Number(gt=0))]
NotNegative = Annotated[float, Parameter(validator=validators.Number(gte=0))]

FREE_ON_RESUME = frozenset({"resume", "checkpoint_s", "threads", "max_minutes"})
"""What may change when a run goes on: it says how to train, not what."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """What to train, on what, and for how long."""

    cell: Literal["rnn", "lstm", "gru", "tcn", "attention", "mingru"] = "lstm"
    """Which architecture."""
    hidden: Annotated[int, Parameter(validator=validators.Number(gte=1, lte=8192))] = 256
    """Width of each layer (units)."""
    layers: Annotated[int, Parameter(validator=validators.Number(gte=1, lte=16))] = 1
    """Layers, one upon the other."""
    embedding: Count = 64
    """Width of a character's vector (units)."""
    kernel: Annotated[int, Parameter(validator=validators.Number(gte=2))] = KERNEL
    """Taps of each convolution; tcn only."""
    heads: Count = HEADS
    """Heads of each layer; attention only."""
    attention_window: Count = WINDOW_STEPS
    """Steps that each layer looks back on, the present one among them; attention only."""
    dropout: Fraction = 0.0
    """Share of values dropped in training: on the embedding, between layers, before the readout."""
    corpus: Path | None = None
    """UTF-8 text to learn; the source of Python's own standard library by default."""
    steps: Count = 2000
    """Training steps; each one learns batch x window characters."""
    batch: Count = 32
    """Rows of text that are learnt side by side."""
    window: Count = 64
    """Characters that errors flow back through in one step; the carry goes on beyond."""
    learning_rate: Annotated[float, Parameter(validator=validators.Number(gt=0, lte=1))] = 4e-3
    """Highest learning rate of AdamW, between warm-up and cosine decay."""
    warmup_steps: Annotated[int, Parameter(validator=validators.Number(gte=0))] = 100
    """Steps over which the learning rate rises from zero."""
    weight_decay: NotNegative = 0.0
    """AdamW's weight decay."""
    clip: Positive = 1.0
    """Largest norm of a gradient; longer ones are shortened to it."""
    precision: Literal["auto", "bfloat16", "float32"] = "auto"
    """Arithmetic of training; auto takes bfloat16 where the processor has it."""
    seed: int = 0
    """The same seed and threads give the same model on the same machine."""
    threads: Count = 2
    """Processor threads."""
    max_minutes: Positive | None = None
    """Stop after this time even if steps are left; the learning rate then follows the clock."""
    checkpoint_s: Positive = 30.0
    """Seconds between two checkpoints."""
    resume: Annotated[bool, Parameter(negative=())] = False
    """Go on with a run that was interrupted."""

    def as_dict(self) -> dict[str, Any]:
        """Plain data for the checkpoint, the corpus as an absolute path."""
        corpus = str(self.corpus.resolve()) if self.corpus else None
        return {**asdict(self), "corpus": corpus}

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> TrainOptions:
        """The inverse of `as_dict`."""
        corpus = Path(plain["corpus"]) if plain["corpus"] else None
        return cls(**{**plain, "corpus": corpus})

    def continuing(self, run: Path, saved: TrainOptions) -> TrainOptions:
        """The options to go on with in a run that was started with `saved`.

        An option left at its default takes the run's own value.

        Raises:
            RunError: an option asks for another run than the one that is there.
        """
        ours, theirs = self.as_dict(), saved.as_dict()
        defaults = TrainOptions().as_dict()
        given = {name for name in ours if ours[name] not in (defaults[name], theirs[name])}
        if wrong := [field.name for field in fields(self) if field.name in given - FREE_ON_RESUME]:
            raise RunError(
                f"{run} was started with other options ("
                + ", ".join(f"{flag(name)} {theirs[name]}, not {ours[name]}" for name in wrong)
                + "): leave them out, or train into another directory"
            )
        return replace(saved, **{name: getattr(self, name) for name in given})


def flag(name: str) -> str:
    """The option as it is written on a command line."""
    return "--" + name.replace("_", "-")
