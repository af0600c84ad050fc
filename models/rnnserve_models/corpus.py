"""The text to learn from: Python's own standard library, or any UTF-8 file.

Newlines are normalised to line feeds, and nothing else is touched.
"""

from __future__ import annotations

import hashlib
import io
import platform
import sysconfig
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from rnnserve_models.errors import CorpusError
from rnnserve_models.stdlib_files import TRAINING_FILES, VALIDATION_FILES

TRAINING_SHARE = 0.9


@dataclass(frozen=True)
class Corpus:
    """Two texts that share no part of their source.

    Attributes:
        train, validation: the texts.
        description: where they come from, for people.
        sha256: over both texts; equal hashes mean equal texts and an equal split.
    """

    train: str
    validation: str
    description: str
    sha256: str


def standard_library(directory: Path | None = None) -> Corpus:
    """Python's own standard library, split by file.

    Args:
        directory: where the library stands; the running interpreter's by default.

    Raises:
        CorpusError: a file is missing or unreadable.
    """
    root = directory or Path(sysconfig.get_path("stdlib"))
    files = len(TRAINING_FILES) + len(VALIDATION_FILES)
    return _corpus(
        _joined(root, TRAINING_FILES),
        _joined(root, VALIDATION_FILES),
        f"the source of Python {platform.python_version()}'s standard library ({files} files)",
    )


def text_file(path: Path) -> Corpus:
    """Any UTF-8 text: the first 90 % of its characters to learn from, the rest to validate.

    Raises:
        CorpusError: there is no such file, it is not UTF-8, or it is empty.
    """
    if not path.is_file():
        raise CorpusError(f"there is no text file {path}: give --corpus an existing UTF-8 file")
    text = _read(path)
    if not text:
        raise CorpusError(f"{path} is empty: give --corpus a file with text in it")
    cut = int(len(text) * TRAINING_SHARE)
    return _corpus(text[:cut], text[cut:], path.name)


def _corpus(train: str, validation: str, description: str) -> Corpus:
    digest = hashlib.sha256(f"{len(train)}\n{train}{validation}".encode()).hexdigest()
    return Corpus(train, validation, description, digest)


def _joined(root: Path, names: Iterable[str]) -> str:
    return "".join(_module(root, name) for name in names)


def _module(root: Path, name: str) -> str:
    path = root / name
    if not path.is_file():
        raise CorpusError(
            f"this Python has no source file {path}: install the full standard library,"
            " or train on a text of your own with --corpus"
        )
    return _read(path)


def _read(path: Path) -> str:
    try:
        encoded = path.read_bytes()
        return io.TextIOWrapper(io.BytesIO(encoded), encoding="utf-8", newline=None).read()
    except OSError as error:
        raise CorpusError(f"{path} cannot be read ({error.strerror}): check its access") from error
    except UnicodeDecodeError as error:
        raise CorpusError(
            f"{path} is not UTF-8 (at byte {error.start}): convert it, or give another file"
        ) from error
