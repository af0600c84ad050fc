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
    taken = slots.gather([late])
    slots.release(late)
    current = slots.take()
    assert current.slot == late.slot
    slots.scatter(taken, rows(7.0))
    np.testing.assert_array_equal(slots.read(current)[0], np.zeros(3))


def test_in_a_batch_only_current_leases_are_written():
    slots = Slots(CARRY, 3)
    first, ended, last = (slots.take() for _ in range(3))
    taken = slots.gather([first, ended, last])
    slots.release(ended)
    again = slots.take()
    slots.scatter(taken, rows(1.0, 2.0, 3.0))
    found = slots.gather([first, again, last]).carry
    np.testing.assert_array_equal(found[0], rows(1.0, 0.0, 3.0)[0])


def test_a_lease_ends_once():
    slots = Slots(CARRY, 2)
    lease = slots.take()
    slots.release(lease)
    slots.release(lease)
    assert slots.free_count == 2
    assert slots.audit([]) == []


def test_what_was_gathered_of_several_is_a_copy_and_what_was_read_is_one():
    slots = Slots(CARRY, 2)
    leases = [slots.take(), slots.take()]
    slots.gather(leases).carry[0][:] = 9.0
    slots.read(leases[0])[0][:] = 9.0
    assert not slots.gather(leases).carry[0].any()


def test_a_slot_may_begin_with_a_carry_and_be_written_and_read_alone():
    slots = Slots(CARRY, 2)
    zeros, given = slots.take(), slots.take((np.array([1, 2, 3], np.float32),))
    np.testing.assert_array_equal(slots.read(given)[0], [1, 2, 3])
    assert not slots.read(zeros)[0].any()
    slots.write(given, None)
    assert not slots.read(given)[0].any()
