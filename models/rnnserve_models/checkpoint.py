"""A run directory: what stands in it, how a checkpoint is written, how a finished run is loaded."""

from __future__ import annotations

import json
import os
import pickle
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rnnserve_models.errors import RunError
from rnnserve_models.language_model import LanguageModel, ModelShape

FORMAT = 1
_PARTIAL = ".partial"

_UNREADABLE = (RuntimeError, OSError, EOFError, pickle.UnpicklingError, LookupError, TypeError)


@dataclass(frozen=True)
class RunFiles:
    """The names of a run's files; none of them has to exist."""

    directory: Path

    @property
    def checkpoint(self) -> Path:
        """Weights, and while the run is unfinished all it takes to go on."""
        return self.directory / "checkpoint.pt"

    @property
    def tokenizer(self) -> Path:
        """The `tokenizers` file that turns text to the model's tokens."""
        return self.directory / "tokenizer.json"

    @property
    def card(self) -> Path:
        """The training card for programs."""
        return self.directory / "card.json"

    @property
    def readable_card(self) -> Path:
        """The training card for people."""
        return self.directory / "card.md"

    @property
    def curve(self) -> Path:
        """The loss against the characters seen, as a picture."""
        return self.directory / "curve.png"

    @property
    def validation(self) -> Path:
        """The exact validation text, UTF-8 with newlines as they are."""
        return self.directory / "validation.txt"

    def strangers(self) -> list[str]:
        """Names in the directory that are no run's: somebody else's files live there."""
        ours = (self.checkpoint, self.tokenizer, self.card, self.readable_card, self.curve)
        known = {*ours, self.validation, self.checkpoint.with_suffix(_PARTIAL)}
        found = self.directory.iterdir() if self.directory.is_dir() else ()
        return sorted(path.name for path in found if path not in known)


@dataclass(kw_only=True)
class Checkpoint:
    """A moment of a run, as tensors and plain data.

    Attributes:
        shape: the model's shape.
        options: the run's options as plain data.
        weights: the model's parameters, float32.
        step: training steps done.
        seconds: training time so far.
        corpus_sha256: of the text trained on.
        losses: training nats per character, one for each step.
        validations: (step, estimated validation nats per character).
        continuation: what the next step needs (optimizer, carry, random generator); None once the
            run is finished, its result measured and its card written.
    """

    shape: ModelShape
    options: dict[str, Any]
    weights: dict[str, Tensor]
    step: int
    seconds: float
    corpus_sha256: str
    losses: list[float] = field(default_factory=list)
    validations: list[tuple[int, float]] = field(default_factory=list)
    continuation: dict[str, Any] | None = None

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to do."""
        return self.continuation is None


def save_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Write the file whole or not at all: a crash leaves the one before.

    Raises:
        RunError: the disk does not take it.
    """
    contents = {**vars(checkpoint), "shape": checkpoint.shape.as_dict(), "format": FORMAT}
    partial = path.with_suffix(_PARTIAL)
    try:
        with partial.open("wb") as file:
            torch.save(contents, file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise RunError(
            f"{path} cannot be written ({error.strerror or error}): make room there; what was"
            " saved before is untouched, and --resume goes on from it"
        ) from error


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint; nothing in the file is ever executed.

    Raises:
        RunError: there is none, or it is not a checkpoint of this version.
    """
    if not path.is_file():
        raise RunError(f"there is no checkpoint in {path.parent}: train a model there first")
    try:
        contents = torch.load(path, map_location="cpu", weights_only=True)
        if contents.pop("format") != FORMAT:
            raise RunError(f"{path} was written by another version: train the run again")
        return Checkpoint(**{**contents, "shape": ModelShape(**contents["shape"])})
    except _UNREADABLE as error:
        raise RunError(f"{path} is not a readable checkpoint: train the run again") from error


@dataclass(frozen=True)
class Run:
    """A finished run, ready to be exported.

    Attributes:
        model: in eval mode, float32, on the CPU.
        card: `card.json` as plain data.
    """

    path: Path
    model: LanguageModel
    tokenizer: Path
    validation: Path
    card: dict[str, Any]


def load_run(path: Path) -> Run:
    """Load a finished run's directory.

    Raises:
        RunError: there is no run, it is not finished, or a file is missing.
    """
    files = RunFiles(path)
    checkpoint = load_checkpoint(files.checkpoint)
    if not checkpoint.finished:
        raise RunError(
            f"the run in {path} stopped at step {checkpoint.step} of {checkpoint.options['steps']}:"
            f" finish it with `rnnserve train {path} --resume`"
        )
    for needed in (files.tokenizer, files.validation, files.card):
        if not needed.is_file():
            raise RunError(f"{needed} is missing: train the run again in an empty directory")
    model = LanguageModel(checkpoint.shape)
    model.load_state_dict(checkpoint.weights)
    card = json.loads(files.card.read_text(encoding="utf-8"))
    return Run(path, model.eval(), files.tokenizer, files.validation, card)
