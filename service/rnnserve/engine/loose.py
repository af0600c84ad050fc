"""Carries whose size varies: a state that grows, or text. One tuple of arrays a session.

The same rules as for `Slots`, without the contiguous arrays: rows are stacked for a batch, and only
carries of equal shapes can be. What they grow by is counted, and a row that would grow beyond what
there is room for isn't written.
"""

from collections.abc import Callable, Hashable, Sequence, Set
from typing import NamedTuple

import numpy as np

from rnnserve.engine.slots import Lease, Rows, Taken
from rnnserve.repository.spec import CarrySpec

ELEMENT_BYTES = 8
"""What an element of text weighs beside its bytes."""


class Held(NamedTuple):
    """One session's carry."""

    arrays: Rows
    size_bytes: int


class LooseSlots:
    """The one owner of every carry of one model. Rows come out by `gather` and go back by
    `scatter`; a lease that has ended writes nothing."""

    def __init__(self, carry: Sequence[CarrySpec], capacity: int, beginning: Rows) -> None:
        """`beginning`: what a session begins with, each entry without rows."""
        self.capacity = capacity
        self.grown_bytes = 0
        """What the carries have beyond that, in all."""
        self.has_room: Callable[[int], bool] = lambda more_bytes: True
        """Whether all sessions together may carry so much more."""
        self._once = tuple(not entry.output_name for entry in carry)
        self._beginning = held(beginning)
        self._carries: dict[int, Held] = {}
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
        self._put(slot, self._beginning if carry is None else held(_copies(carry)))
        return Lease(slot, self._serials[slot])

    def release(self, lease: Lease) -> None:
        """End a lease; a second time does nothing."""
        if self.holds(lease):
            self._serials[lease.slot] += 1
            self.grown_bytes -= self._grown(self._carries.pop(lease.slot))
            self._free.append(lease.slot)

    def holds(self, lease: Lease) -> bool:
        """Whether the lease is still the slot's current one."""
        return self._serials[lease.slot] == lease.serial

    def read(self, lease: Lease) -> Rows:
        """One session's carry, each entry without rows, as copies. The lease must be current."""
        if not self.holds(lease):
            raise AssertionError("a carry is read by a lease that has ended")
        return _copies(self._carries[lease.slot].arrays)

    def size_bytes(self, lease: Lease) -> int:
        """What one session's carry weighs now."""
        return self._carries[lease.slot].size_bytes

    def write(self, lease: Lease, carry: Rows | None) -> None:
        """Set one session's carry (each entry without rows), if the lease is current. None: it
        begins anew, and keeps what it sets once."""
        if not self.holds(lease):
            return
        if carry is None:
            there = self._carries[lease.slot].arrays
            carry = tuple(
                kept if once else anew
                for once, kept, anew in zip(self._once, there, self._beginning.arrays, strict=True)
            )
        self._put(lease.slot, held(_copies(carry)))

    def shapes(self, lease: Lease) -> Hashable:
        """What has to be equal for two sessions to share a batch."""
        return tuple(array.shape for array in self._carries[lease.slot].arrays)

    def gather(self, leases: Sequence[Lease]) -> Taken:
        """The carries of these sessions, of equal shapes, for one run."""
        rows = [self._carries[lease.slot].arrays for lease in leases]
        carry = tuple(np.stack(arrays) for arrays in zip(*rows, strict=True))
        return Taken(leases, np.array([lease.slot for lease in leases], np.intp), carry, 0)

    def apart(self, carry: Rows) -> list[Held]:
        """What a run gave, each (B, ...), row by row."""
        if not carry:
            return []
        # With the dots a row of no axes stays an array.
        rows = range(len(carry[0]))
        return [held(tuple(array[row, ...].copy() for array in carry)) for row in rows]

    def scatter(
        self, taken: Taken, carry: list[Held], ends: Set[int] = frozenset()
    ) -> Sequence[int]:
        """Write each row where its lease is still current and there is room; which rows there was
        no room for. `ends`: rows that nobody needs any more."""
        too_large = []
        for row, (lease, after) in enumerate(zip(taken.leases, carry, strict=False)):
            if row in ends or not self.holds(lease):
                continue
            more_bytes = after.size_bytes - self._carries[lease.slot].size_bytes
            if more_bytes > 0 and not self.has_room(more_bytes):
                too_large.append(row)
            else:
                self._put(lease.slot, after)
        return too_large

    def audit(self, leases: Sequence[Lease]) -> list[str]:
        """What is wrong between the slots and the leases that should be held, in words."""
        free, leased = set(self._free), {lease.slot for lease in leases}
        wrong = []
        if len(free) != len(self._free) or len(leased) != len(leases) or free & leased:
            wrong.append("a slot is free or leased twice")
        if len(free | leased) != self.capacity or leased != self._carries.keys():
            wrong.append("a slot is neither leased nor free")
        if lost := sum(not self.holds(lease) for lease in leases):
            wrong.append(f"{lost} sessions have lost their lease")
        grown = sum(self._grown(carry) for carry in self._carries.values())
        if grown != self.grown_bytes:
            wrong.append(f"{self.grown_bytes} grown bytes are counted, {grown} held")
        return wrong

    def _put(self, slot: int, carry: Held) -> None:
        before = self._carries.get(slot, self._beginning)
        self.grown_bytes += carry.size_bytes - before.size_bytes
        self._carries[slot] = carry

    def _grown(self, carry: Held) -> int:
        return carry.size_bytes - self._beginning.size_bytes


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

    def size_bytes(self, lease: Lease) -> int:
        return 0

    def apart(self, carry: Rows) -> Rows:
        return ()

    def scatter(self, taken: Taken, carry: Rows, ends: Set[int] = frozenset()) -> Sequence[int]:
        return ()

    def audit(self, leases: Sequence[Lease]) -> list[str]:
        return []


def held(arrays: Rows) -> Held:
    """A carry, weighed; text by its characters."""
    return Held(arrays, sum(map(_size_bytes, arrays)))


def _copies(carry: Rows) -> Rows:
    return tuple(array.copy() for array in carry)


def _size_bytes(array: np.ndarray) -> int:
    if array.dtype.kind != "O":
        return array.nbytes
    # A character has four bytes at most where Python keeps it.
    return sum(ELEMENT_BYTES + 4 * len(element) for element in array.ravel())
