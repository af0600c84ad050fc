"""A few timed runs tell what every batch costs, and measuring them doesn't hold up the server."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnserve.engine.costs import TIMED_RUNS, measure


class Machine:
    """Runs cost `fixed_s` and `each_s` a row and step, and up to `noise` times as much more."""

    def __init__(self, fixed_s: float, each_s: float, noise: float = 0.0, seed: int = 0) -> None:
        self.fixed_s, self.each_s, self.noise = fixed_s, each_s, noise
        self.runs: list[tuple[int, int, float]] = []
        self._random = random.Random(seed)

    def true_s(self, rows: int, steps: int) -> float:
        return self.fixed_s + self.each_s * rows * steps

    def __call__(self, rows: int, steps: int) -> float:
        run_s = self.true_s(rows, steps) * (1 + self.noise * self._random.random())
        self.runs.append((rows, steps, run_s))
        return run_s

    @property
    def spent_s(self) -> float:
        return sum(run_s for _, _, run_s in self.runs)


costs_s = st.floats(1e-7, 1.0, allow_subnormal=False)
machines = st.builds(
    Machine,
    fixed_s=costs_s,
    each_s=costs_s,
    noise=st.floats(0, 3, allow_subnormal=False),
    seed=st.integers(0, 99),
)
limits = {"max_rows": st.integers(1, 200), "max_block_steps": st.integers(1, 500)}


def powers_of_two(most: int) -> list[int]:
    return [1 << log for log in range(most.bit_length())]


@settings(deadline=None)
@given(machine=machines, **limits)
def test_more_rows_or_more_steps_are_never_expected_cheaper(machine, max_rows, max_block_steps):
    costs = measure(machine, max_rows, max_block_steps)
    steps = powers_of_two(max_block_steps)
    table = [[costs.expected_s(rows, s) for s in steps] for rows in range(1, max_rows + 1)]
    assert all(line == sorted(line) for line in table)
    assert all(list(column) == sorted(column) for column in zip(*table, strict=True))
    assert all(cost > 0 for line in table for cost in line)


@given(machine=machines, budget_s=st.floats(0, 1, allow_subnormal=False), **limits)
def test_no_run_begins_once_the_budget_is_spent(machine, budget_s, max_rows, max_block_steps):
    measure(machine, max_rows, max_block_steps, budget_s=budget_s)
    assert machine.spent_s - machine.runs[-1][2] <= max(budget_s, machine.runs[0][2]) * (1 + 1e-9)
    assert [run[:2] for run in machine.runs[:2]] == [(1, 1), (1, 1)]


def test_a_disturbance_while_all_is_run_once_is_set_right_by_the_next_round():
    runs = []

    def run_once(rows: int, steps: int) -> float:
        runs.append((rows, steps))
        disturbed = rows >= 16 and runs.count((rows, steps)) == 1
        return rows * steps * (1e-5 if disturbed else 1e-6)

    costs = measure(run_once, 64, 8)
    assert costs.max_rows == 1  # no fixed cost: more rows gain nothing
    assert costs.expected_s(64, 8) == pytest.approx(512e-6)


@given(machine=machines, **limits)
def test_no_run_is_larger_than_asked_for_and_none_is_run_more_than_needed(
    machine, max_rows, max_block_steps
):
    measure(machine, max_rows, max_block_steps)
    cells = [run[:2] for run in machine.runs]
    assert all(rows <= max_rows and steps <= max_block_steps for rows, steps in cells)
    # The very first run of all is one more, and counts for nothing.
    assert max(map(cells[1:].count, cells)) <= TIMED_RUNS + 1


@settings(deadline=None)
@given(
    fixed_s=st.floats(1e-6, 1e-4), each_s=st.floats(1e-7, 1e-3), seed=st.integers(0, 9), **limits
)
def test_every_run_is_expected_to_cost_what_a_straight_line_says(
    fixed_s, each_s, seed, max_rows, max_block_steps
):
    # Disturbed by up to 20 %; each extrapolation may double that.
    machine = Machine(fixed_s, each_s, noise=0.2, seed=seed)
    costs = measure(machine, max_rows, max_block_steps, budget_s=60.0)
    for rows in range(1, max_rows + 1):
        for steps in powers_of_two(max_block_steps):
            expected_s, true_s = costs.expected_s(rows, steps), machine.true_s(rows, steps)
            assert true_s * 0.5 < expected_s < true_s * 2


@given(machine=machines, **limits)
def test_what_was_measured_is_never_expected_over_what_was_seen(machine, max_rows, max_block_steps):
    costs = measure(machine, max_rows, max_block_steps)
    for cost in (cost for cost in costs.grid if cost.measured):
        seen = [run[2] for run in machine.runs if run[:2] == (cost.rows, cost.steps)]
        assert machine.true_s(cost.rows, cost.steps) <= cost.run_s * (1 + 1e-9)
        assert cost.run_s <= max(seen)
    assert {(c.rows, c.steps) for c in costs.grid if c.measured} == {r[:2] for r in machine.runs}


def test_one_disturbed_run_of_a_small_batch_disturbs_nothing():
    def run_once(rows: int, steps: int) -> float:
        return 1.0 if (rows, steps) == (2, 1) else 1e-5 * rows * steps

    costs = measure(run_once, 64, 64, budget_s=1e9)
    assert costs.expected_s(2, 1) == pytest.approx(4e-5)
    assert costs.expected_s(64, 64) == pytest.approx(4096e-5)


@settings(deadline=None)
@given(machine=machines, at_most=st.integers(1, 1000), max_block_s=costs_s, **limits)
def test_a_block_is_the_longest_that_keeps_its_time(
    machine, at_most, max_block_s, max_rows, max_block_steps
):
    costs = measure(machine, max_rows, max_block_steps, max_block_s=max_block_s)
    for rows in range(1, max_rows + 1):
        steps = costs.block_steps(rows, at_most)
        assert steps in powers_of_two(min(at_most, max_block_steps))
        assert steps == 1 or costs.expected_s(rows, steps) <= max_block_s
        if 2 * steps <= min(at_most, max_block_steps):
            assert costs.expected_s(rows, 2 * steps) > max_block_s


@pytest.mark.parametrize(
    ("machine", "rows"),
    [
        (Machine(0.0, 1e-4), 1),  # rows cost the same in any company
        (Machine(1e-6, 1e-6), 32),  # 1.03125 each; 256 cost 1.0039 each, and 16 cost 1.0625
        (Machine(1e-4, 0.0), 256),  # they cost nothing: the more the better
        (Machine(0.2, 1e-6), 256),  # too slow to try two rows: nobody knows that they don't pay
        (Machine(0.01, 2e-4), 256),  # a few were all that could be tried; they point to more
    ],
)
def test_as_many_rows_run_together_as_pay(machine, rows):
    assert measure(machine, 256, 64).max_rows == rows


@given(machine=machines, **limits)
def test_the_rows_that_run_together_are_a_power_of_two_or_all(machine, max_rows, max_block_steps):
    costs = measure(machine, max_rows, max_block_steps)
    assert costs.max_rows in (*powers_of_two(max_rows), max_rows)


def test_a_model_of_a_second_a_step_is_run_twice():
    machine = Machine(1.0, 0.1)
    costs = measure(machine, 64, 64)
    assert len(machine.runs) == 2
    assert costs.block_steps(64, 64) == costs.block_steps(1, 64) == 1
    assert costs.expected_s(64, 64) >= machine.true_s(64, 64)
