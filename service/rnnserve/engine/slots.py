"""The carries of all sessions of one model, a row each, and who may touch which row."""

from collections.abc import Hashable, Sequence, Set
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from rnnserve.repository.spec import CarrySpec

Rows = tuple[np.ndarray, ...]


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to one slot. The serial tells its holder from the slot's next one."""

    slot: int
    serial: int


class Taken(NamedTuple):
    """Rows that were taken out of their slots to be run."""

    leases: Sequence[Lease]
    slots: np.ndarray | slice  # (B,)
    carry: Rows  # each (B, ...), valid until the next gather
    releases: int
    """How many leases had ended by then."""


class Slots:
    """Contiguous arrays, one for each carry entry, batch-first: (S, ...).

    The one owner of every carry. Rows come out by `gather` and go back by `scatter`; a lease that
    has ended writes nothing.
    """

    grown_bytes = 0
    """What the carries have beyond their beginning: these don't grow."""

    def __init__(
        self,
        carry: Sequence[CarrySpec],
        capacity: int,
        max_rows: int = 64,
        beginning: Rows | None = None,
    ) -> None:
        """`beginning`: what a session begins with, each entry without rows; None: zeros."""
        self.capacity = capacity
        self._once = tuple(not entry.output_name for entry in carry)
        self._beginning: Rows | tuple[int, ...] = beginning or (0,) * len(carry)
        # Untouched pages of np.zeros cost nothing, so capacity is free until it is used.
        self._arrays: Rows = tuple(
            np.zeros((capacity, *entry.shape), entry.dtype) for entry in carry
        )
        self._buffers: Rows = tuple(
            np.empty((max_rows, *entry.shape), entry.dtype) for entry in carry
        )
        self._pairs = tuple(zip(self._arrays, self._buffers, strict=True))
        self._serials = [0] * capacity
        self._free = list(range(capacity - 1, -1, -1))
        self._releases = 0

    @property
    def free_count(self) -> int:
        return len(self._free)

    def take(self, carry: Rows | None = None) -> Lease:
        """A slot with this carry (each entry without rows), or with its beginning.

        Raises IndexError when none is free: ask first.
        """
        slot = self._free.pop()
        for array, first in zip(
            self._arrays, self._beginning if carry is None else carry, strict=True
        ):
            array[slot] = first
        return Lease(slot, self._serials[slot])

    def release(self, lease: Lease) -> None:
        """End a lease; a second time does nothing."""
        if self.holds(lease):
            self._serials[lease.slot] += 1
            self._releases += 1
            self._free.append(lease.slot)

    def holds(self, lease: Lease) -> bool:
        """Whether the lease is still the slot's current one."""
        return self._serials[lease.slot] == lease.serial

    def read(self, lease: Lease) -> Rows:
        """One session's carry, each entry without rows, as copies. The lease must be current."""
        if not self.holds(lease):
            raise AssertionError("a carry is read by a lease that has ended")
        return tuple(array[lease.slot].copy() for array in self._arrays)

    def size_bytes(self, lease: Lease) -> int:
        """What one session's carry weighs."""
        return sum(array[lease.slot].nbytes for array in self._arrays)

    def write(self, lease: Lease, carry: Rows | None) -> None:
        """Set one session's carry (each entry without rows), if the lease is current. None: it
        begins anew, and keeps what it sets once."""
        if not self.holds(lease):
            return
        for place, array in enumerate(self._arrays):
            if carry is not None:
                array[lease.slot] = carry[place]
            elif not self._once[place]:
                array[lease.slot] = self._beginning[place]

    def shapes(self, lease: Lease) -> Hashable:
        """What has to be equal for two sessions to share a batch: it always is."""
        return ()

    def gather(self, leases: Sequence[Lease]) -> Taken:
        """The carries of these sessions, 1 to `max_rows`, for one run: not to be written, and valid
        until the next call."""
        count = len(leases)
        if count == 1:
            # A view will do: nobody writes the slot until the run is over.
            only = slice(leases[0].slot, leases[0].slot + 1)
            return Taken(leases, only, tuple([a[only] for a in self._arrays]), self._releases)
        slots = np.array([lease.slot for lease in leases], np.intp)
        carry = tuple(
            [
                # mode="clip": "raise" would go through a buffer of its own.
                array.take(slots, 0, buffer[:count], "clip")
                for array, buffer in self._pairs
            ]
        )
        return Taken(leases, slots, carry, self._releases)

    def apart(self, carry: Rows) -> Rows:
        """What a run gave, as `scatter` takes it."""
        return carry

    def scatter(self, taken: Taken, carry: Rows, ends: Set[int] = frozenset()) -> Sequence[int]:
        """Write each row (B, ...) back where its lease is still current. Which rows were too large:
        none. `ends`: rows that nobody needs any more."""
        slots = taken.slots
        if taken.releases != self._releases:
            current = [row for row, lease in enumerate(taken.leases) if self.holds(lease)]
            slots = np.array([taken.leases[row].slot for row in current], np.intp)
            carry = tuple(rows[current] for rows in carry)
        for array, rows in zip(self._arrays, carry, strict=True):
            array[slots] = rows
        return ()

    def audit(self, leases: Sequence[Lease]) -> list[str]:
        """What is wrong between the slots and the leases that should be held, in words."""
        free, held = set(self._free), {lease.slot for lease in leases}
        wrong = []
        if len(free) != len(self._free):
            wrong.append("a slot is free twice")
        if len(held) != len(leases):
            wrong.append("a slot is leased twice")
        if free & held:
            wrong.append(f"{len(free & held)} slots are leased and free")
        if len(free | held) != self.capacity:
            wrong.append(f"{self.capacity - len(free | held)} slots are neither leased nor free")
        lost = sum(not self.holds(lease) for lease in leases)
        if lost:
            wrong.append(f"{lost} sessions have lost their lease")
        return wrong
