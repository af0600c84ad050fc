"""Small models with random weights, published as the exporter lays them out."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch

from rnnserve.engine.runner import Runner
from rnnserve.repository.config import format_config
from rnnserve.repository.spec import ModelSpec
from rnnserve_export.graph import build_graph
from rnnserve_export.interface import model_spec
from rnnserve_models.language_model import LanguageModel, ModelShape
from rnnserve_models.reference.language_model import ReferenceLanguageModel
from rnnserve_models.tokenizer import character_tokenizer

ALPHABET = "\n abcdefghijklmnopqrstuvwxyz"
V = len(ALPHABET) + 1
WRITTEN = ("rnn", "lstm", "gru")
DRAWN = ("tcn", "attention", "mingru")
"""Those whose graphs torch's exporter draws, which takes seconds for each."""
CELLS = WRITTEN + DRAWN
KINDS = (*((cell, layers) for cell in WRITTEN for layers in (1, 2)), *((cell, 2) for cell in DRAWN))
OWN_OPTIONS = {"tcn": {"kernel": 3}, "attention": {"attention_window": 5, "heads": 2}}
"""So short that every test's text is longer than what they see."""


@dataclass(frozen=True)
class SmallModel:
    """The same weights in all the forms that have to agree."""

    torch_model: LanguageModel
    reference: ReferenceLanguageModel
    spec: ModelSpec
    graph: bytes

    def runner(self) -> Runner:
        return Runner(self.spec, self.graph)


@cache
def small_model(cell: str, layers: int, *, hidden: int = 12, seed: int = 7) -> SmallModel:
    """A model over `ALPHABET` whose weights follow from the seed; the same to all who ask."""
    torch.manual_seed(seed)
    sizes = {"vocabulary": V, "embedding": 8, "hidden": hidden, "layers": layers}
    shape = ModelShape(cell=cell, **sizes, **OWN_OPTIONS.get(cell, {}))
    model = LanguageModel(shape).eval()
    spec = model_spec(model, f"{cell}{layers}")
    return SmallModel(model, ReferenceLanguageModel(model), spec, build_graph(model))


def publish(model: SmallModel, repository: Path) -> None:
    """Lay the model out as version 1, without the exporter's proof."""
    folder = repository / model.spec.name / "1"
    folder.mkdir(parents=True)
    (folder.parent / "config.pbtxt").write_text(format_config(model.spec))
    (folder / "model.onnx").write_bytes(model.graph)
    character_tokenizer(ALPHABET).save(str(folder / "tokenizer.json"))
    (folder / "card.json").write_text(json.dumps({"model": model.spec.name}))


def random_carry(spec: ModelSpec, B: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Numbers in (-1, 1), where h lives and c mostly is; and counters that are some way on."""
    return {
        entry.input_name: rng.uniform(-1, 1, (B, *entry.shape)).astype(entry.dtype)
        if entry.dtype.kind == "f"
        else rng.integers(0, 30, (B, *entry.shape), dtype=entry.dtype)
        for entry in spec.carry
    }
