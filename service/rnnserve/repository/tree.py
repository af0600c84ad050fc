"""The folder of models, in Triton's layout.

    REPOSITORY/MODEL/config.pbtxt                           what it lacks is the graph's to tell
    REPOSITORY/MODEL/VERSION/model.onnx                     or its default_model_filename
    REPOSITORY/MODEL/VERSION/tokenizer.json, card.json      where there are such
    REPOSITORY/MODEL/initial_state/FILE                     what states begin with, where it says so

Of each model, those versions count that its version policy names: without one, the newest. Names
that begin with a dot are work in progress and not looked at.
"""

import hashlib
import re
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from rnnserve.errors import ModelProblem, OperatorError
from rnnserve.repository.completion import complete
from rnnserve.repository.config import Config, read_message, understand
from rnnserve.repository.graph import read_graph
from rnnserve.repository.limits import refuse_unserved
from rnnserve.repository.spec import ModelSpec
from rnnserve.repository.tokenizer import Tokenizer
from rnnserve.triton import model_config_pb2 as triton

CONFIG = "config.pbtxt"
GRAPH = "model.onnx"
INITIAL_STATE = "initial_state"
TOKENIZER = "tokenizer.json"
CARD = "card.json"
MAX_GRAPH_BYTES = 2 << 30
MAX_INITIAL_BYTES = 1 << 30
MODEL_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,254}")


@dataclass(frozen=True)
class ModelVersion:
    """One version, read whole: what the server needs to run and to describe it."""

    spec: ModelSpec
    config: Config
    graph: bytes
    fingerprint: str
    """SHA-256 of the graph."""
    tokenizer: Tokenizer | None
    card_json: str


@dataclass(frozen=True)
class BrokenModel:
    """A model that could not be loaded, and why. `version` is 0 where none was found."""

    name: str
    version: int
    problem: str


def model_names(repository: Path) -> list[str]:
    """Every folder that may be a model's. Raises OperatorError when there is no repository."""
    if not repository.is_dir():
        raise OperatorError(
            f"no model repository at {repository}: make one with `rnnserve export`, "
            "or name another with --repository"
        )
    return sorted(
        folder.name
        for folder in repository.iterdir()
        if folder.is_dir() and not folder.name.startswith(".")
    )


def wanted_versions(repository: Path, name: str) -> list[int]:
    """The versions of a model that its policy names, ascending; [0]: there is none.

    Raises ModelProblem: the folder has no model's name, the policy can't be read, or names a
    version that isn't there.
    """
    _check_name(name)
    folder = repository / name
    there = versions(folder) if folder.is_dir() else []
    if not there:
        return [0]
    policy = _message(repository, name).version_policy
    match policy.WhichOneof("policy_choice"):
        case "all":
            return there
        case "specific":
            wanted = sorted(set(policy.specific.versions))
            if missing := sorted(set(wanted) - set(there)):
                raise ModelProblem(f"version_policy: {name} has no version {missing}")
            return wanted or [0]
        case _:
            return there[-max(1, policy.latest.num_versions) :]


def versions(model_folder: Path) -> list[int]:
    """The published versions of one model, ascending."""
    names = (folder.name for folder in model_folder.iterdir() if folder.is_dir())
    return sorted(int(name) for name in names if re.fullmatch(r"[1-9][0-9]{0,17}", name))


def read_version(repository: Path, name: str, version: int) -> ModelVersion:
    """Read one version. Raises ModelProblem when something is missing or not as it must be."""
    _check_name(name)
    if version == 0:
        raise ModelProblem(f"{name} has no version: a folder named 1, 2, ... with a {GRAPH}")
    message = _message(repository, name)
    graph_name = message.default_model_filename or GRAPH
    folder = repository / name / str(version)
    where = f"{name}/{version}"
    graph = _bytes(folder, graph_name, MAX_GRAPH_BYTES, where)
    refuse_unserved(message)
    complete(message, read_graph(graph, f"{where}/{graph_name}"))
    initial = partial(
        _bytes, repository / name / INITIAL_STATE, at_most=MAX_INITIAL_BYTES, where=name
    )
    config = understand(message, initial)
    tokenizer_path = folder / TOKENIZER
    card_path = folder / CARD
    return ModelVersion(
        spec=replace(config.spec, version=version),
        config=config,
        graph=graph,
        fingerprint=hashlib.sha256(graph).hexdigest(),
        tokenizer=Tokenizer(_text(tokenizer_path)) if tokenizer_path.exists() else None,
        card_json=_text(card_path) if card_path.exists() else "",
    )


def _check_name(name: str) -> None:
    if not MODEL_NAME.fullmatch(name):
        raise ModelProblem(f"the folder {name!r} is no model name: letters, digits, '_', '-', '.'")


def _message(repository: Path, name: str) -> triton.ModelConfig:
    """The configuration as it stands on disk; an empty one where there is none."""
    path = repository / name / CONFIG
    return read_message(_text(path) if path.exists() else "", name)


def _bytes(folder: Path, file_name: str, at_most: int, where: str) -> bytes:
    """A file of that folder and no other. Raises ModelProblem."""
    path = folder / file_name
    if not FILE_NAME.fullmatch(file_name) or not path.is_file():
        raise ModelProblem(f"{where} has no file {file_name}")
    if (size := path.stat().st_size) > at_most:
        raise ModelProblem(f"{where}/{file_name}: {size} bytes, at most {at_most}")
    return path.read_bytes()


def _text(path: Path) -> str:
    if path.exists() and not path.is_file():
        raise ModelProblem(f"{path.parent.name}/{path.name} is no file")
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ModelProblem(f"{path.parent.name} has no {path.name}") from None
    except UnicodeDecodeError:
        raise ModelProblem(f"{path.parent.name}/{path.name} is not UTF-8 text") from None
