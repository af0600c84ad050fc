"""The folder of models, in Triton's layout.

    REPOSITORY/MODEL/config.pbtxt
    REPOSITORY/MODEL/VERSION/model.onnx
    REPOSITORY/MODEL/VERSION/tokenizer.json, card.json      where there are such

The newest version of each model is the one that counts, as in Triton without a version policy.
Names that begin with a dot are work in progress and not looked at.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from rnnserve.errors import ModelProblem, OperatorError
from rnnserve.repository.config import parse_config
from rnnserve.repository.spec import ModelSpec
from rnnserve.repository.tokenizer import Tokenizer

CONFIG = "config.pbtxt"
GRAPH = "model.onnx"
TOKENIZER = "tokenizer.json"
CARD = "card.json"
MAX_GRAPH_BYTES = 2 << 30
MODEL_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")


@dataclass(frozen=True)
class ModelVersion:
    """One version, read whole: what the server needs to run and to describe it."""

    spec: ModelSpec
    graph: bytes
    fingerprint: str
    """SHA-256 of the graph."""
    tokenizer: Tokenizer | None
    card_json: str


@dataclass(frozen=True)
class BrokenModel:
    """A model that can't be served, and why. `version` is 0 where none was found."""

    name: str
    version: int
    problem: str


def newest_versions(repository: Path) -> list[tuple[str, int]]:
    """Name and newest version of every model below `repository`; version 0: it has none.

    Raises OperatorError when there is no such folder.
    """
    if not repository.is_dir():
        raise OperatorError(
            f"no model repository at {repository}: make one with `rnnserve export`, "
            "or name another with --repository"
        )
    folders = sorted(
        folder
        for folder in repository.iterdir()
        if folder.is_dir() and not folder.name.startswith(".")
    )
    return [(folder.name, max(versions(folder), default=0)) for folder in folders]


def versions(model_folder: Path) -> list[int]:
    """The published versions of one model, ascending."""
    names = (folder.name for folder in model_folder.iterdir() if folder.is_dir())
    return sorted(int(name) for name in names if re.fullmatch(r"[1-9][0-9]{0,17}", name))


def read_version(repository: Path, name: str, version: int) -> ModelVersion:
    """Read one version. Raises ModelProblem when something is missing or not as it must be."""
    if not MODEL_NAME.fullmatch(name):
        raise ModelProblem(f"the folder {name!r} is no model name: letters, digits, '_', '-', '.'")
    if version == 0:
        raise ModelProblem(f"{name} has no version: a folder named 1, 2, ... with a {GRAPH}")
    folder = repository / name / str(version)
    spec = parse_config(_text(repository / name / CONFIG), name, version)
    path = folder / GRAPH
    if not path.is_file():
        raise ModelProblem(f"{name}/{version} has no {GRAPH}")
    if (size := path.stat().st_size) > MAX_GRAPH_BYTES:
        raise ModelProblem(f"{name}/{version}/{GRAPH}: {size} bytes, at most {MAX_GRAPH_BYTES}")
    graph = path.read_bytes()
    tokenizer_path = folder / TOKENIZER
    card_path = folder / CARD
    return ModelVersion(
        spec=spec,
        graph=graph,
        fingerprint=hashlib.sha256(graph).hexdigest(),
        tokenizer=Tokenizer(_text(tokenizer_path)) if tokenizer_path.exists() else None,
        card_json=_text(card_path) if card_path.exists() else "",
    )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ModelProblem(f"{path.parent.name} has no {path.name}") from None
    except UnicodeDecodeError:
        raise ModelProblem(f"{path.parent.name}/{path.name} is not UTF-8 text") from None
