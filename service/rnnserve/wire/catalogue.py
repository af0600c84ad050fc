"""Models as they are described to clients."""

from collections.abc import Sequence
from dataclasses import dataclass

from rnnserve.engine.costs import Costs
from rnnserve.engine.served import unknown_model
from rnnserve.repository.spec import ModelSpec
from rnnserve.repository.tree import BrokenModel
from rnnserve.v1 import rnnserve_pb2 as v1
from rnnserve.wire.tensors import carry_message, tensor_message


@dataclass(frozen=True)
class Entry:
    """What is told of one model version, without its graph."""

    spec: ModelSpec
    fingerprint: str
    card_json: str
    tokenizer_json: str
    costs: Costs
    max_stall_s: float


class Catalogue:
    """Lists and describes. Read-only."""

    def __init__(self, entries: Sequence[Entry], broken: Sequence[BrokenModel]) -> None:
        self._entries = {entry.spec.name: entry for entry in entries}
        self._broken = tuple(broken)

    def list(self) -> v1.ListModelsReply:
        """Every model that is ready, and those that could not be loaded, with the problem."""
        return v1.ListModelsReply(
            models=map(_description, self._entries.values()),
            broken=(
                v1.BrokenModel(model=broken.name, version=broken.version, problem=broken.problem)
                for broken in self._broken
            ),
        )

    def describe(self, name: str, version: int) -> v1.ModelDescription:
        """One model whole, its tokenizer too. Raises Refusal (unknown_model)."""
        entry = self._entries.get(name)
        if entry is None or version not in (0, entry.spec.version):
            raise unknown_model(name, version)
        description = _description(entry)
        description.tokenizer_json = entry.tokenizer_json
        description.costs.CopyFrom(_costs(entry))
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
    )


def _costs(entry: Entry) -> v1.Costs:
    costs = entry.costs
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
        max_stall_us=entry.max_stall_s * 1e6,
        max_block_us=costs.max_block_s * 1e6,
    )
