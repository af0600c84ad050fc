"""Which rows run together, and that nobody waits longer than promised."""

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnserve.engine.batcher import Batch, Batcher, BatchLimits
from rnnserve.engine.chunk import Chunk
from rnnserve.engine.costs import measure
from rnnserve.engine.session import Session, SessionLimits
from rnnserve.engine.slots import Lease

LIMITS = SessionLimits(max_pending_chunks=1000, max_chunk_steps=10**6)


class Crowd:
    """A batcher and its sessions, run as a model would, on blocks that cost nothing."""

    def __init__(self, limits: BatchLimits, max_block_s: float = 1.0, step_s: float = 1e-9) -> None:
        costs = measure(
            lambda rows, steps: rows * steps * step_s,
            limits.max_rows,
            limits.max_block_steps,
            max_block_s=max_block_s,
        )
        self.batcher = Batcher(limits, costs)
        self.sessions: dict[str, Session] = {}

    def submit(self, name: str, steps: int, at_s: float = 0.0) -> None:
        session = self.sessions.setdefault(name, Session(name, Lease(0, 0), LIMITS))
        chunk = Chunk(session, session.admitted, steps, (bytes(steps),), at_s, lambda _: None)
        if session.admit(chunk):
            self.batcher.add(chunk)

    def finish(self, batch: Batch) -> list[str]:
        for chunk in batch.chunks:
            whole = chunk.steps == batch.steps
            chunk.answer = (bytes(chunk.steps),)
            if not whole and not chunk.advance(batch.steps, (b"",), 0.0):
                self.batcher.add(chunk)
            elif behind := chunk.session.commit(chunk, 0.0):
                self.batcher.add(behind)
        return [chunk.session.id for chunk in batch.chunks]

    def run(self) -> list[tuple[int, list[str]]]:
        """Take batches to the end; block length and sessions of each."""
        seen = []
        while batch := self.batcher.take():
            seen.append((batch.steps, self.finish(batch)))
        return seen


chunks = st.lists(
    st.tuples(st.sampled_from("abcde"), st.integers(1, 300), st.integers(0, 9)), max_size=30
)


@given(
    sent=chunks,
    max_rows=st.integers(1, 4),
    max_block_steps=st.sampled_from([1, 8, 64]),
    max_block_s=st.sampled_from([1e-9, 20e-9, 1.0]),
)
def test_every_step_runs_once_in_its_sessions_order(sent, max_rows, max_block_steps, max_block_s):
    crowd = Crowd(BatchLimits(max_rows, max_block_steps), max_block_s)
    for name, steps, at_s in sent:
        crowd.submit(name, steps, at_s)
    seen = crowd.run()
    for name in "abcde":
        ran = sum(steps for steps, rows in seen if name in rows)
        assert ran == sum(steps for other, steps, _ in sent if other == name)
    for steps, rows in seen:
        assert len(set(rows)) == len(rows) <= max_rows
        assert steps <= max_block_steps
        assert steps & (steps - 1) == 0
        assert steps == 1 or steps * len(rows) * 1e-9 <= max_block_s * 1.01
    assert not crowd.batcher


def test_equal_blocks_of_different_sessions_run_together():
    crowd = Crowd(BatchLimits(max_block_steps=8))
    for name, steps in (("a", 8), ("b", 9), ("c", 1)):
        crowd.submit(name, steps)
    assert crowd.run() == [(1, ["c"]), (8, ["a", "b"]), (1, ["b"])]


def test_blocks_are_shorter_where_many_rows_would_take_too_long():
    crowd = Crowd(BatchLimits(max_rows=4, max_block_steps=8), max_block_s=16e-9)
    for name in "abcd":
        crowd.submit(name, 8)
    assert crowd.run() == [(4, list("abcd"))] * 2


def test_single_steps_wait_for_one_block_of_the_others_at_most():
    crowd = Crowd(BatchLimits(max_block_steps=16))
    for long in "xyz":
        crowd.submit(long, 160 + ord(long) % 3)
    waited, since = [], 0
    for turn in range(12):
        crowd.submit("single", 1, at_s=1.0 + turn)
        while (batch := crowd.batcher.take()) is not None:
            if "single" in crowd.finish(batch):
                waited.append(since)
                since = 0
                break
            since += 1
    assert len(waited) == 12
    assert max(waited) <= 1


def test_long_chunks_are_not_starved_by_single_steps():
    crowd = Crowd(BatchLimits(max_block_steps=16))
    crowd.submit("long", 64)
    ran = 0
    for turn in range(20):
        crowd.submit(f"s{turn}", 1, at_s=1.0 + turn)
        batch = crowd.batcher.take()
        assert batch is not None
        ran += "long" in crowd.finish(batch)
    assert ran == 4


@given(max_rows=st.integers(1, 8), singles=st.integers(0, 20), generations=st.integers(0, 20))
def test_neither_single_steps_nor_generations_keep_the_other_out(max_rows, singles, generations):
    crowd = Crowd(BatchLimits(max_rows=max_rows))
    for name in range(singles):
        crowd.submit(f"s{name}", 1)
    for generation in range(generations):
        crowd.batcher.add_generation(generation)  # type: ignore[arg-type]
    turns = deque(range(4 * (singles + generations) + 4))
    stepped, generated = set(), set()
    while turns and (batch := crowd.batcher.take()) is not None:
        turns.popleft()
        assert batch.rows <= max_rows
        stepped.update(crowd.finish(batch))
        for name in [chunk.session.id for chunk in batch.chunks]:
            crowd.submit(name, 1)
        generated.update(batch.generations)
        for generation in batch.generations:
            crowd.batcher.add_generation(generation)
    assert len(stepped) == singles
    assert len(generated) == generations


@pytest.mark.parametrize("first", ["a single step", "a long chunk"])
def test_with_one_row_neither_kind_starves_beside_long_chunks(first):
    crowd = Crowd(BatchLimits(max_rows=1, max_block_steps=8))
    for name, steps in (("single", 1), ("long", 8_000))[:: 1 if first == "a single step" else -1]:
        crowd.submit(name, steps)
    crowd.batcher.add_generation("generation")  # type: ignore[arg-type]
    ran = {"single": 0, "long": 0, "generation": 0}
    for _ in range(60):
        batch = crowd.batcher.take()
        assert batch is not None
        for name in (*crowd.finish(batch), *batch.generations):
            ran[name] += 1
            if name == "single":
                crowd.submit("single", 1)
            if name == "generation":
                crowd.batcher.add_generation("generation")  # type: ignore[arg-type]
    assert min(ran.values()) >= 10
