"""Every option of `rnnserve inspect` and `rnnserve import`, defined once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, validators

OnePerFlag = Parameter(negative=(), consume_multiple=False, show_default=False)
"""An option that is given once for each tensor."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Overrules:
    """What you know better than the file tells. Each may be given several times."""

    state: Annotated[tuple[str, ...], OnePerFlag] = ()
    """IN:OUT, the input IN is a state, and the output OUT is its next one."""
    data: Annotated[tuple[str, ...], OnePerFlag] = ()
    """NAME, this input is given with every step, and is no state."""
    constant: Annotated[tuple[str, ...], OnePerFlag] = ()
    """NAME=VALUE, this input is the same on every run: a number, or a list such as [1, 2]."""
    once: Annotated[tuple[str, ...], OnePerFlag] = ()
    """NAME, a session sets this input once, at its beginning, and keeps it."""
    batch_axis: Annotated[tuple[str, ...], OnePerFlag] = ()
    """NAME=AXIS, where the rows of this tensor are; of a state, name the input."""
    dims: Annotated[tuple[str, ...], OnePerFlag] = ()
    """NAME=LENGTHS, what the free axes of this input but for its rows always are: 512, or
    [1, 80]."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class InspectOptions:
    """How the report is written."""

    json: Annotated[bool, Parameter(negative=())] = False
    """JSON for programs instead of tables."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class ImportOptions:
    """Where the model goes, and as what."""

    repository: Path = Path("repository")
    """Folder of models; made if there is none."""
    name: str | None = None
    """The model's name; that of the file by default."""
    max_batch: Annotated[int | None, Parameter(validator=validators.Number(gte=1))] = None
    """Most rows that the server may run at once; 256, or what an earlier version has. A graph
    whose rows aren't independent gets 1, whatever is said here."""
    force: Annotated[bool, Parameter(negative=())] = False
    """Publish a new version even if the newest is this very model."""
