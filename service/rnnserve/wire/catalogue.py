"""Models as they are described to clients."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from rnnserve.engine.costs import Costs
from rnnserve.engine.served import unknown_model
from rnnserve.repository.spec import ModelSpec
from rnnserve.repository.tree import BrokenModel
from rnnserve.v1 import rnnserve_pb2 as v1
from rnnserve.wire.terms import carry_message, tensor_message


@dataclass(frozen=True)
class Entry:
    """What is told of one model version, without its graph."""

    spec: ModelSpec
    fingerprint: str
    card_json: str
    tokenizer_json: str
    costs: Costs | None
    """None where a run's cost depends on the shapes that messages bring."""
    max_stall_s: float


class Shelf(Protocol):
    """What there is to be described, as it stands now."""

    def entries(self) -> Iterable[Entry]:
        """Every version that takes new sessions, by name and version, ascending."""

    def broken(self) -> Iterable[BrokenModel]:
        """Every model that was found and can't be served."""


class Catalogue:
    """Lists and describes. Read-only."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    def list(self) -> v1.ListModelsReply:
        """Every model that is ready, and those that could not be loaded, with the problem."""
        return v1.ListModelsReply(
            models=map(_description, self._shelf.entries()),
            broken=(
                v1.BrokenModel(model=broken.name, version=broken.version, problem=broken.problem)
                for broken in self._shelf.broken()
            ),
        )

    def describe(self, name: str, version: int) -> v1.ModelDescription:
        """One model whole, its tokenizer too. Raises Refusal (unknown_model)."""
        entry = None
        # The newest comes last.
        for found in self._shelf.entries():
            if found.spec.name == name and version in (0, found.spec.version):
                entry = found
        if entry is None:
            raise unknown_model(name, version)
        description = _description(entry)
        description.tokenizer_json = entry.tokenizer_json
        if entry.costs is not None:
            description.costs.CopyFrom(_costs(entry.costs, entry.max_stall_s))
        return description


def _description(entry: Entry) -> v1.ModelDescription:
    return v1.ModelDescription(
        model=entry.spec.name,
        version=entry.spec.version,
        inputs=map(tensor_message, entry.spec.inputs),
        outputs=map(tensor_message, entry.spec.outputs),
        carry=map(carry_message, entry.spec.carry),
        carry_bytes=entry.spec.carry_bytes,
        has_tokenizer=bool(entry.tokenizer_json),
        fingerprint=entry.fingerprint,
        card_json=entry.card_json,
        shaped=entry.spec.is_shaped,
    )


def _costs(costs: Costs, max_stall_s: float) -> v1.Costs:
    longest_steps = max(cost.steps for cost in costs.grid)
    return v1.Costs(
        runs=(
            v1.Cost(
                rows=cost.rows, steps=cost.steps, run_us=cost.run_s * 1e6, measured=cost.measured
            )
            for cost in costs.grid
        ),
        max_rows=costs.max_rows,
        alone_block_steps=costs.block_steps(1, longest_steps),
        full_block_steps=costs.block_steps(costs.max_rows, longest_steps),
        max_stall_us=max_stall_s * 1e6,
        max_block_us=costs.max_block_s * 1e6,
    )
