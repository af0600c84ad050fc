"""Carries whose size varies: a state that grows, or text. One tuple of arrays a session.

The same rules as for `Slots`, without the contiguous arrays: rows are stacked for a batch, and only
carries of equal shapes can be.
"""

from collections.abc import Hashable, Sequence

import numpy as np

from rnnserve.engine.slots import Lease, Rows, Taken
from rnnserve.repository.spec import CarrySpec


class LooseSlots:
    """The one owner of every carry of one model. Rows come out by `gather` and go back by
    `scatter`; a lease that has ended writes nothing."""

    def __init__(self, carry: Sequence[CarrySpec], capacity: int, beginning: Rows) -> None:
        """`beginning`: what a session begins with, each entry without rows."""
        self.capacity = capacity
        self.grown_bytes = 0
        """What the carries have beyond that, in all."""
        self._once = tuple(not entry.output_name for entry in carry)
        self._beginning = beginning
        self._begin_bytes = _size(beginning)
        self._carries: dict[int, Rows] = {}
        """By slot."""
        self._serials = [0] * capacity
        self._free = list(range(capacity - 1, -1, -1))

    @property
    def free_count(self) -> int:
        return len(self._free)

    def take(self, carry: Rows | None = None) -> Lease:
        """A slot with this carry (each entry without rows), or with its beginning.

        Raises IndexError when none is free: ask first.
        """
        slot = self._free.pop()
        self._put(slot, self._beginning if carry is None else _copies(carry))
        return Lease(slot, self._serials[slot])

    def release(self, lease: Lease) -> None:
        """End a lease; a second time does nothing."""
        if self.holds(lease):
            self._serials[lease.slot] += 1
            self.grown_bytes -= _size(self._carries.pop(lease.slot)) - self._begin_bytes
            self._free.append(lease.slot)

    def holds(self, lease: Lease) -> bool:
        """Whether the lease is still the slot's current one."""
        return self._serials[lease.slot] == lease.serial

    def read(self, lease: Lease) -> Rows:
        """One session's carry, each entry without rows, as copies. The lease must be current."""
        if not self.holds(lease):
            raise AssertionError("a carry is read by a lease that has ended")
        return _copies(self._carries[lease.slot])

    def write(self, lease: Lease, carry: Rows | None) -> None:
        """Set one session's carry (each entry without rows), if the lease is current. None: it
        begins anew, and keeps what it sets once."""
        if not self.holds(lease):
            return
        if carry is None:
            there = self._carries[lease.slot]
            carry = tuple(
                kept if once else anew
                for once, kept, anew in zip(self._once, there, self._beginning, strict=True)
            )
        self._put(lease.slot, _copies(carry))

    def shapes(self, lease: Lease) -> Hashable:
        """What has to be equal for two sessions to share a batch."""
        return tuple(array.shape for array in self._carries[lease.slot])

    def gather(self, leases: Sequence[Lease]) -> Taken:
        """The carries of these sessions, of equal shapes, for one run."""
        rows = [self._carries[lease.slot] for lease in leases]
        carry = tuple(np.stack(arrays) for arrays in zip(*rows, strict=True))
        return Taken(leases, np.array([lease.slot for lease in leases], np.intp), carry, 0)

    def scatter(self, taken: Taken, carry: Rows) -> None:
        """Write each row (B, ...) back where its lease is still current."""
        for row, lease in enumerate(taken.leases):
            if self.holds(lease):
                self._put(lease.slot, tuple(array[row].copy() for array in carry))

    def audit(self, leases: Sequence[Lease]) -> list[str]:
        """What is wrong between the slots and the leases that should be held, in words."""
        free, held = set(self._free), {lease.slot for lease in leases}
        wrong = []
        if len(free) != len(self._free) or len(held) != len(leases) or free & held:
            wrong.append("a slot is free or leased twice")
        if len(free | held) != self.capacity or held != self._carries.keys():
            wrong.append("a slot is neither leased nor free")
        if lost := sum(not self.holds(lease) for lease in leases):
            wrong.append(f"{lost} sessions have lost their lease")
        grown = sum(_size(rows) - self._begin_bytes for rows in self._carries.values())
        if grown != self.grown_bytes:
            wrong.append(f"{self.grown_bytes} grown bytes are counted, {grown} held")
        return wrong

    def _put(self, slot: int, carry: Rows) -> None:
        before = self._carries.get(slot)
        self.grown_bytes += _size(carry) - (self._begin_bytes if before is None else _size(before))
        self._carries[slot] = carry


class NoSlots:
    """For a model whose requests stand alone: nothing is carried, and there is always room."""

    capacity = free_count = 1 << 30
    grown_bytes = 0

    def take(self, carry: Rows | None = None) -> Lease:
        return Lease(0, 0)

    def release(self, lease: Lease) -> None: ...

    def holds(self, lease: Lease) -> bool:
        return True

    def read(self, lease: Lease) -> Rows:
        return ()

    def write(self, lease: Lease, carry: Rows | None) -> None: ...

    def shapes(self, lease: Lease) -> Hashable:
        return ()

    def gather(self, leases: Sequence[Lease]) -> Taken:
        return Taken(leases, slice(0), (), 0)

    def scatter(self, taken: Taken, carry: Rows) -> None: ...

    def audit(self, leases: Sequence[Lease]) -> list[str]:
        return []


def _copies(carry: Rows) -> Rows:
    return tuple(array.copy() for array in carry)


def _size(carry: Rows) -> int:
    return sum(array.nbytes for array in carry)
