"""Small models with weights far from their initial values, and finished runs of such."""

import json
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from rnnserve_export.graph import build_graph
from rnnserve_models.checkpoint import Checkpoint, RunFiles, save_checkpoint
from rnnserve_models.language_model import LanguageModel, ModelShape
from rnnserve_models.tokenizer import character_tokenizer
from small_models import OWN_OPTIONS

from .importer import Importer

BuildModel = Callable[..., LanguageModel]
MakeRun = Callable[..., Path]

LETTERS = "\n abcdefghij"
V = len(LETTERS) + 1


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@cache
def _build(cell: str, layers: int = 2, hidden: int = 6, seed: int = 3) -> LanguageModel:
    torch.manual_seed(seed)
    sizes = {"vocabulary": V, "embedding": 5, "hidden": hidden, "layers": layers}
    shape = ModelShape(cell=cell, dropout=0.3, **sizes, **OWN_OPTIONS.get(cell, {}))
    model = LanguageModel(shape).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model


@pytest.fixture(scope="session")
def build_model() -> BuildModel:
    return _build


@pytest.fixture(scope="session")
def graph_of() -> Callable[..., bytes]:
    """The graph of such a model, made once: drawing some of them takes seconds."""
    return cache(lambda cell, layers=2: build_graph(_build(cell, layers)))


@pytest.fixture(scope="session")
def text() -> np.ndarray:
    return np.random.default_rng(5).integers(0, V, 500)


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """A finished run as training leaves it, of a model with the weights of `build_model`."""

    def make(name: str = "letters", letters: str = LETTERS, **shape: object) -> Path:
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        files = RunFiles(folder)
        model = _build(**({"cell": "lstm"} | shape))
        checkpoint = Checkpoint(
            shape=model.shape,
            options={},
            weights=model.state_dict(),
            step=1,
            seconds=1.0,
            corpus_sha256="",
        )
        save_checkpoint(checkpoint, files.checkpoint)
        character_tokenizer(letters).save(str(files.tokenizer))
        files.validation.write_text("a bad cafe\nfaced a hijab\n" * 40, encoding="utf-8")
        files.card.write_text(json.dumps({"bits_per_character": 2.5}), encoding="utf-8")
        files.readable_card.write_text("# letters\n", encoding="utf-8")
        return folder

    return make


@pytest.fixture
def bring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Importer:
    """Imports graphs that somebody else made."""
    monkeypatch.chdir(tmp_path)
    return Importer()
