"""Imports graphs into a repository of its own, as the command does."""

import io
from pathlib import Path

import pytest
from onnx import helper
from rich.console import Console

from foreign_models import file_of, value
from rnnserve.repository.tree import ModelVersion, model_names, read_version
from rnnserve_export.draft import Draft
from rnnserve_export.foreign.importing import import_file
from rnnserve_export.foreign.options import ImportOptions, Overrules

REPOSITORY = Path("repository")


class Importer:
    """Works in the current folder."""

    repository = REPOSITORY

    def __call__(
        self,
        graph: bytes,
        name: str = "model",
        max_batch: int | None = None,
        force: bool = False,
        **said: tuple[str, ...],
    ) -> tuple[ModelVersion, str]:
        """What was published, as the server reads it, and what was said."""
        path = Path(f"{name}.onnx")
        path.write_bytes(graph)
        console = Console(file=io.StringIO(), width=80)
        options = ImportOptions(repository=REPOSITORY, max_batch=max_batch, force=force)
        published = import_file(path, options, Overrules(**said), console)
        return read_version(REPOSITORY, name, published.version), console.file.getvalue()

    def refuses(
        self, error: type[Exception], match: str, graph: bytes, **said: tuple[str, ...]
    ) -> None:
        """Asserts that the import says why, and leaves nothing behind."""
        with pytest.raises(error, match=match):
            self(graph, **said)
        assert not REPOSITORY.exists() or model_names(REPOSITORY) == []


def summing(draft: Draft) -> bytes:
    """The file of a draft that makes `y` of `x` and of `h_next`, which is the sum of all `x`."""
    draft.nodes.insert(0, helper.make_node("Add", ["h", "x"], ["h_next"]))
    given = [value("x", ["N", 3]), value("h", ["N", 3])]
    return file_of(draft, given, [value("y", ["N", 3]), value("h_next", ["N", 3])])
