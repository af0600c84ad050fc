"""A lease is the right to a slot, and ends with its session."""

import numpy as np

from rnnserve.engine.slots import Slots
from rnnserve.repository.spec import CarrySpec

CARRY = (CarrySpec("h", "h_next", np.dtype(np.float32), (3,)),)


def rows(*values: float) -> tuple[np.ndarray]:
    return (np.array([[value] * 3 for value in values], np.float32),)


def test_a_late_answer_never_reaches_the_slots_next_user():
    slots = Slots(CARRY, 1)
    late = slots.take()
    slots.release(late)
    current = slots.take()
    assert current.slot == late.slot
    slots.scatter([late], rows(7.0))
    np.testing.assert_array_equal(slots.gather([current])[0], rows(0.0)[0])


def test_in_a_batch_only_current_leases_are_written():
    slots = Slots(CARRY, 3)
    first, ended, last = (slots.take() for _ in range(3))
    slots.release(ended)
    again = slots.take()
    slots.scatter([first, ended, last], rows(1.0, 2.0, 3.0))
    np.testing.assert_array_equal(slots.gather([first, again, last])[0], rows(1.0, 0.0, 3.0)[0])


def test_a_lease_ends_once():
    slots = Slots(CARRY, 2)
    lease = slots.take()
    slots.release(lease)
    slots.release(lease)
    assert slots.free_count == 2
    assert slots.audit() == []


def test_what_was_gathered_is_a_copy():
    slots = Slots(CARRY, 1)
    lease = slots.take()
    (carry,) = slots.gather([lease])
    carry[:] = 9.0
    assert not slots.gather([lease])[0].any()
