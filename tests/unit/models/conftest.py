"""Small models with weights far from their initial values, and a small text."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch

from rnnserve_models.language_model import LanguageModel, ModelShape

BuildModel = Callable[..., LanguageModel]

SMALL = {"tcn": {"kernel": 3}, "attention": {"heads": 2, "attention_window": 4}}
"""Reaches that a dozen steps go beyond."""


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def build_model() -> BuildModel:
    def build(cell: str, layers: int = 2, hidden: int = 7, vocabulary: int = 11) -> LanguageModel:
        torch.manual_seed(layers)
        shape = ModelShape(
            cell=cell,
            vocabulary=vocabulary,
            embedding=5,
            hidden=hidden,
            layers=layers,
            **SMALL.get(cell, {}),
        )
        model = LanguageModel(shape).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter))
        return model

    return build


@pytest.fixture(scope="session")
def rhyme() -> str:
    lines = (f"{n} and {n} are {2 * n},\nand that is \u2013 alas \u2013 true\n" for n in range(60))
    return "".join(lines)
