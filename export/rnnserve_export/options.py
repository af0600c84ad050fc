"""Every option of `rnnserve export`, defined once: name, type, limits, default and help."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, validators


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """Where a run goes, and as what."""

    repository: Path = Path("repository")
    """Folder of models; made if there is none."""
    name: str | None = None
    """The model's name; that of the run's directory by default."""
    max_batch: Annotated[int | None, Parameter(validator=validators.Number(gte=1))] = None
    """Most rows that the server may run at once; 256, or what an earlier version has."""
    force: Annotated[bool, Parameter(negative=())] = False
    """Publish a new version even if the newest is this very model."""
