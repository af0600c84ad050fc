"""Where a value in a graph comes from: how far it is from each input, whose numbers it holds."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Memory:
    """One memory of an operator: what goes in at its beginning comes out at its end."""

    number: int
    way: str
    """For people: `initial_h -> Y_h of the GRU 'gru_1'`."""
    is_whole: bool = True
    """False: seen at the operator's other output, of which the memory is the last step; or carried
    around by a Loop, which may be for another reason."""


@dataclass(frozen=True)
class Computed:
    """Numbers that no input had."""


COMPUTED = Computed()
Held = frozenset[str | Memory | Computed]


@dataclass(frozen=True, eq=False)
class Trail:
    """Where a value comes from."""

    far: np.ndarray  # (I,): from each input; infinite where it doesn't depend on it
    held: Held = frozenset()
    """Inputs and memories whose numbers it has, moved at the most."""


@dataclass
class Scope:
    """Names to trails; a graph inside another one sees those around it."""

    trails: dict[str, Trail]
    around: "Scope | None" = None

    def find(self, name: str, otherwise: Trail) -> Trail:
        scope: Scope | None = self
        while scope is not None:
            if name in scope.trails:
                return scope.trails[name]
            scope = scope.around
        return otherwise


def beyond(trails: list[Trail], price: int, nothing: Trail) -> Trail:
    """What is computed from all of them at that price; `nothing` where there are none."""
    if not trails:
        return nothing
    return Trail(np.min([trail.far + price for trail in trails], axis=0))


def either(trails: Iterable[Trail]) -> Trail:
    """What is one of them, nobody knows which."""
    trails = list(trails)
    held = frozenset[str | Memory | Computed]().union(*(trail.held for trail in trails))
    return Trail(np.min([trail.far for trail in trails], axis=0), held)


def kept(memory: Memory, begin: Trail, beside: Trail) -> Trail:
    """A memory at its end: near to what it began as, whatever else went into it."""
    return Trail(np.minimum(begin.far + 1, beside.far), beside.held | {memory})
