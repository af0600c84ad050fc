"""`rnnserve models`."""

import json
import sys
from dataclasses import dataclass
from typing import Annotated, Any

from cyclopts import Parameter
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rnnserve.client import Client, Models, Tensor
from rnnserve.commands.target import LOCAL, Target

COLUMNS = ("model", "version", "inputs", "outputs", "carry bytes", "tokenizer")


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class ModelsOptions:
    """How the list is written."""

    json: Annotated[bool, Parameter(negative=())] = False
    """JSON for programs instead of a table."""


DEFAULTS = ModelsOptions()


def models(*, options: ModelsOptions = DEFAULTS, server: Target = LOCAL) -> None:
    """List the models of a running server.

    Shows what a session of each takes and gives, and how many bytes of carry it keeps on the
    server. Models that the server found but could not load come last, with what is wrong.
    """
    with server.reached(), Client(server.target) as client:
        found = client.models()
    if options.json:
        json.dump(as_json(found), sys.stdout, indent=2)
        print()
        return
    console = Console()
    if found.ready or not found.broken:
        console.print(_table(found))
    for broken in found.broken:
        console.print(Text(f"{broken.name} version {broken.version}: {broken.problem}", "red"))


def as_json(found: Models) -> dict[str, Any]:
    """Plain data, for programs."""
    return {
        "ready": [
            {
                "name": model.name,
                "version": model.version,
                "inputs": [_tensor_json(tensor) for tensor in model.inputs],
                "outputs": [_tensor_json(tensor) for tensor in model.outputs],
                "carry": [_tensor_json(tensor) for tensor in model.carry],
                "carry_bytes": model.carry_bytes,
                "tokenizer": model.has_tokenizer,
                "fingerprint": model.fingerprint,
            }
            for model in found.ready
        ],
        "broken": [
            {"name": broken.name, "version": broken.version, "problem": broken.problem}
            for broken in found.broken
        ],
    }


def _table(found: Models) -> Table:
    table = Table(*COLUMNS)
    for model in found.ready:
        cells = (
            model.name,
            str(model.version),
            "\n".join(map(str, model.inputs)),
            "\n".join(map(str, model.outputs)),
            f"{model.carry_bytes:,}",
            "yes" if model.has_tokenizer else "no",
        )
        table.add_row(*map(Text, cells))
    return table


def _tensor_json(tensor: Tensor) -> dict[str, Any]:
    return {"name": tensor.name, "dtype": tensor.dtype.name, "shape": list(tensor.shape)}
