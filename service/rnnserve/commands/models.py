"""`rnnserve models`."""

import json
import sys
from dataclasses import dataclass, replace
from typing import Annotated, Any

from cyclopts import Parameter
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rnnserve.client import Client, Model, Models, Tensor
from rnnserve.commands.costs import costs_json, show_costs
from rnnserve.commands.target import LOCAL, Target

COLUMNS = ("model", "version", "inputs", "outputs", "carry bytes", "tokenizer")


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class ModelsOptions:
    """How the list is written."""

    json: Annotated[bool, Parameter(negative=())] = False
    """JSON for programs instead of a table."""
    costs: Annotated[bool, Parameter(negative=())] = False
    """What runs of each model cost on that server, and what follows from it."""


DEFAULTS = ModelsOptions()


def models(*, options: ModelsOptions = DEFAULTS, server: Target = LOCAL) -> None:
    """List the models of a running server.

    Shows what a session of each takes and gives, and how many bytes of carry it keeps on the
    server. Models that the server found but could not load come last, with what is wrong.

    With --costs it shows instead what the server measured when it loaded each model: the time of a
    run by rows (sessions that run together) and steps (of each), and each step's share of it. Where
    more rows make a step no cheaper, the server runs no more of them together; where more steps
    take too long for those who wait, it cuts chunks into blocks.
    """
    with server.reached(), server.client() as client:
        found = client.models()
        if options.costs:
            found = replace(found, ready=tuple(_described(client, model) for model in found.ready))
    if options.json:
        json.dump(as_json(found, costs=options.costs), sys.stdout, indent=2)
        print()
        return
    console = Console()
    if options.costs:
        for model in found.ready:
            show_costs(console, model)
    elif found.ready or not found.broken:
        console.print(_table(found))
    for broken in found.broken:
        console.print(Text(f"{broken.name} version {broken.version}: {broken.problem}", "red"))


def as_json(found: Models, *, costs: bool) -> dict[str, Any]:
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
                **({"costs": costs_json(model.costs)} if costs else {}),
            }
            for model in found.ready
        ],
        "broken": [
            {"name": broken.name, "version": broken.version, "problem": broken.problem}
            for broken in found.broken
        ],
    }


def _described(client: Client, model: Model) -> Model:
    return client.describe(model.name, model.version)


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
