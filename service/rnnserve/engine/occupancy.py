"""How full the engine is, at a glance."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rnnserve.engine.engine import Engine


@dataclass(frozen=True)
class Occupancy:
    """What is taken of what there is."""

    carry_bytes: Mapping[str, int]
    """Of the live sessions, by model."""
    max_carry_bytes: int
    max_sessions: int
    waiting_steps: int
    """Taken in and not answered."""
    max_waiting_steps: int
    waiting_bytes: int
    max_waiting_bytes: int
    retiring: tuple[str, ...]
    """The models of the versions that take no new sessions and are still there."""
    is_draining: bool


def occupancy(engine: "Engine") -> Occupancy:
    """Costs as much as there are models, however many sessions they have."""
    carry_bytes: dict[str, int] = {}
    for model in engine.served:
        name = model.spec.name
        held = len(model.sessions) * model.spec.carry_bytes + model.slots.grown_bytes
        carry_bytes[name] = carry_bytes.get(name, 0) + held
    backlog, table = engine.backlog, engine.table.limits
    return Occupancy(
        carry_bytes=carry_bytes,
        max_carry_bytes=table.max_carry_bytes,
        max_sessions=table.max_sessions,
        waiting_steps=backlog.steps,
        max_waiting_steps=backlog.limits.max_steps,
        waiting_bytes=backlog.bytes,
        max_waiting_bytes=backlog.limits.max_bytes,
        retiring=tuple(model.spec.name for model in engine.served.retiring),
        is_draining=engine.draining,
    )
