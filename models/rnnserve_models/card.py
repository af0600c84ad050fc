"""The training card: what the model is, how it came to be, and how good it is."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from rnnserve_models.checkpoint import RunFiles
from rnnserve_models.corpus import Corpus
from rnnserve_models.evaluation import Score
from rnnserve_models.trainer import Trainer


@dataclass(frozen=True, kw_only=True)
class Card:
    """Plain data in five chapters, each a mapping of names to values."""

    model: dict[str, Any]
    training: dict[str, Any]
    corpus: dict[str, Any]
    result: dict[str, Any]
    versions: dict[str, str]

    def write(self, files: RunFiles) -> None:
        """Write it twice: `card.json` for programs, `card.md` for people."""
        files.card.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")
        files.readable_card.write_text(self.as_markdown(), encoding="utf-8")

    def as_markdown(self) -> str:
        """The card as a page."""
        lines = ["# Training card", "", self._summary()]
        for chapter, rows in asdict(self).items():
            lines += ["", f"## {chapter.capitalize()}", "", "| what | value |", "|---|---|"]
            lines += [
                f"| {name.replace('_', ' ')} | {_text(value)} |" for name, value in rows.items()
            ]
        return "\n".join(lines) + "\n"

    def _summary(self) -> str:
        return (
            f"A character-level {self.model['cell'].upper()} with {self.model['parameters']:,}"
            f" parameters, trained on {self.corpus['description']}. It predicts the validation text"
            f" at {self.result['bits_per_character']:.4f} bits per character."
        )


def training_card(
    trainer: Trainer, seconds: float, corpus: Corpus, streamed: Score, reset: Score
) -> Card:
    """The card of a run that has just ended, after `seconds` of training."""
    options = trainer.options
    # Where the text lay is nobody's business who reads the card.
    plain = {**options.as_dict(), "corpus": options.corpus.name if options.corpus else None}
    shape = trainer.model.shape.as_dict()
    return Card(
        model={**shape, "parameters": sum(p.numel() for p in trainer.model.parameters())},
        training={
            **{name: value for name, value in plain.items() if name not in {*shape, "resume"}},
            "bfloat16": trainer.bfloat16,
            "steps_done": trainer.step,
            "characters_learnt": trainer.characters,
            "epochs": round(trainer.characters / len(corpus.train), 3),
            "seconds": round(seconds, 1),
            "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
        },
        corpus={
            "description": corpus.description,
            "train_characters": len(corpus.train),
            "validation_characters": len(corpus.validation),
            "sha256": corpus.sha256,
        },
        result={
            "bits_per_character": streamed.bits_per_character,
            "nats_per_character": streamed.nats_per_character,
            "bits_per_character_reset_every_window": reset.bits_per_character,
            "nats_per_character_reset_every_window": reset.nats_per_character,
            "reset_window_steps": options.window,
        },
        versions={
            "python": platform.python_version(),
            **{name: _version(name) for name in ("rnnserve", "torch", "numpy", "tokenizers")},
        },
    )


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _text(value: object) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}" if abs(value) >= 10_000 else str(value)
        case float():
            return f"{value:.6g}"
        case _:
            return str(value)
