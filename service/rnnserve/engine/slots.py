"""The carries of all sessions of one model, a row each, and who may touch which row."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rnnserve.repository.spec import CarrySpec

Rows = tuple[np.ndarray, ...]


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to one slot. The serial tells its holder from the slot's next one."""

    slot: int
    serial: int


class Slots:
    """Contiguous arrays, one for each carry entry, batch-first: (S, ...).

    The one owner of every carry. Rows come out by `gather` and go back by `scatter`, as copies; a
    lease that has ended writes nothing.
    """

    def __init__(self, carry: Sequence[CarrySpec], capacity: int) -> None:
        self.capacity = capacity
        # Untouched pages of np.zeros cost nothing, so capacity is free until it is used.
        self._arrays: Rows = tuple(
            np.zeros((capacity, *entry.shape), entry.dtype) for entry in carry
        )
        self._serials = [0] * capacity
        self._free = list(range(capacity - 1, -1, -1))

    @property
    def free_count(self) -> int:
        return len(self._free)

    def take(self) -> Lease:
        """A slot with a carry of zeros. Raises IndexError when none is free: ask first."""
        slot = self._free.pop()
        for array in self._arrays:
            array[slot] = 0
        return Lease(slot, self._serials[slot])

    def release(self, lease: Lease) -> None:
        """End a lease; a second time does nothing."""
        if self.holds(lease):
            self._serials[lease.slot] += 1
            self._free.append(lease.slot)

    def holds(self, lease: Lease) -> bool:
        """Whether the lease is still the slot's current one."""
        return self._serials[lease.slot] == lease.serial

    def gather(self, leases: Sequence[Lease]) -> Rows:
        """The carries of these sessions, each (B, ...), as copies."""
        rows = [lease.slot for lease in leases]
        return tuple(array[rows] for array in self._arrays)

    def scatter(self, leases: Sequence[Lease], carry: Rows) -> None:
        """Write each row (B, ...) where its lease is still current."""
        current = [row for row, lease in enumerate(leases) if self.holds(lease)]
        slots = [leases[row].slot for row in current]
        whole = len(current) == len(leases)
        for array, rows in zip(self._arrays, carry, strict=True):
            array[slots] = rows if whole else rows[current]

    def audit(self) -> list[str]:
        """What is wrong, in words; empty when the free list is sound."""
        if len(set(self._free)) != len(self._free):
            return ["a slot is free twice"]
        return []
