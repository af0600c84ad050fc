"""Which rows run together, and that nobody waits longer than promised."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnserve.engine.batcher import Batcher, BatchLimits, block_steps
from rnnserve.engine.chunk import Chunk
from rnnserve.engine.slots import Lease
from rnnserve.errors import Reason, Refusal


def chunk(session: str, steps: int, index: int = 0, at_s: float = 0.0) -> Chunk:
    return Chunk(session, Lease(0, 0), index, steps, (np.zeros(steps),), b"", at_s)


def run(batcher: Batcher) -> list[tuple[int, list[str]]]:
    """Take batches to the end, as a model would; block length and sessions of each."""
    seen = []
    while batch := batcher.take():
        seen.append((batch.steps, [row.session_id for row in batch.rows]))
        for row in batch.rows:
            row.advance(batch.steps, ())
            if row.remaining:
                batcher.put_back(row, batch.steps)
            else:
                batcher.finish(row, batch.steps)
    return seen


@given(remaining=st.integers(1, 10**6), at_most=st.integers(1, 4096))
def test_a_block_is_a_power_of_two_that_fits(remaining, at_most):
    steps = block_steps(remaining, at_most)
    assert steps & (steps - 1) == 0
    assert 1 <= steps <= min(remaining, at_most) < 2 * steps


chunks = st.lists(
    st.tuples(st.sampled_from("abcde"), st.integers(1, 300), st.integers(0, 9)), max_size=30
)


@given(sent=chunks, max_rows=st.integers(1, 4), max_block_steps=st.sampled_from([1, 8, 64]))
def test_every_step_runs_once_in_its_sessions_order(sent, max_rows, max_block_steps):
    batcher = Batcher(BatchLimits(max_rows, max_block_steps))
    for session, steps, at_s in sent:
        batcher.submit(chunk(session, steps, at_s=at_s))
    seen = run(batcher)
    for session in "abcde":
        ran = sum(steps for steps, rows in seen if session in rows)
        assert ran == sum(steps for name, steps, _ in sent if name == session)
    for _, rows in seen:
        assert len(set(rows)) == len(rows) <= max_rows
    assert batcher.waiting_steps == 0
    assert not batcher


def test_equal_blocks_of_different_sessions_run_together():
    batcher = Batcher(BatchLimits(max_block_steps=8))
    for session, steps in (("a", 8), ("b", 9), ("c", 1)):
        batcher.submit(chunk(session, steps))
    assert run(batcher) == [(1, ["c"]), (8, ["a", "b"]), (1, ["b"])]


def test_single_steps_wait_for_one_block_of_the_others_at_most():
    batcher = Batcher(BatchLimits(max_block_steps=16))
    for long in "xyz":
        batcher.submit(chunk(long, 160 + ord(long) % 3))
    waited, since = [], 0
    for turn in range(12):
        batcher.submit(chunk("single", 1, turn, at_s=1.0 + turn))
        while (batch := batcher.take()) is not None:
            for row in batch.rows:
                row.advance(batch.steps, ())
                (batcher.put_back if row.remaining else batcher.finish)(row, batch.steps)
            if any(row.session_id == "single" for row in batch.rows):
                waited.append(since)
                since = 0
                break
            since += 1
    assert len(waited) == 12
    assert max(waited) <= 1


def test_long_chunks_are_not_starved_by_single_steps():
    batcher = Batcher(BatchLimits(max_block_steps=16))
    batcher.submit(chunk("long", 64))
    ran = 0
    for turn in range(20):
        batcher.submit(chunk(f"s{turn}", 1, at_s=1.0 + turn))
        batch = batcher.take()
        assert batch is not None
        for row in batch.rows:
            row.advance(batch.steps, ())
            ran += row.session_id == "long"
            (batcher.put_back if row.remaining else batcher.finish)(row, batch.steps)
    assert ran == 4


def test_a_full_queue_refuses_at_once_and_takes_again_when_there_is_room():
    batcher = Batcher(BatchLimits(max_waiting_steps=10))
    batcher.submit(chunk("a", 10))
    with pytest.raises(Refusal) as error:
        batcher.submit(chunk("b", 1))
    assert error.value.reason is Reason.OVERLOADED
    assert error.value.retry_after_s
    run(batcher)
    batcher.submit(chunk("b", 1))
    assert run(batcher) == [(1, ["b"])]
