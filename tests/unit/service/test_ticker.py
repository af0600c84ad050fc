"""The ticker on a real loop: every chunk is answered, short work on the loop, long work off it."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from rnnserve.engine.chunk import Chunk
from rnnserve.engine.ticker import Ticker
from rnnserve.errors import Reason, Refusal
from small_models import small_model
from synchronous_engine import SynchronousEngine, failing_on, memory

MODEL = small_model("gru", 1)
POISON = 28


async def outcomes_of(
    engine: SynchronousEngine, chunks: dict[str, list[int]], max_stall_s: float = 1.0
) -> dict:
    """Tick until each of these sessions has its outcome."""
    with ThreadPoolExecutor(1, thread_name_prefix="run") as executor:
        ticker = Ticker(executor, max_stall_s)
        waiting = {session: asyncio.get_running_loop().create_future() for session in chunks}
        for session, cut in chunks.items():
            entry = engine.engine.session(session)
            told = waiting[session].set_result
            entry.model.submit(entry.session, 0, (memory(cut),), told, entry.used_s)
        task = asyncio.create_task(ticker.run(engine.model))
        ticker.wake()
        async with asyncio.timeout(20):
            outcomes = await asyncio.gather(*waiting.values())
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    return dict(zip(waiting, outcomes, strict=True))


async def test_a_batch_that_fails_is_answered_row_by_row():
    engine = SynchronousEngine(MODEL, run=failing_on(POISON, MODEL.runner().run))
    good, guilty, other = (engine.open() for _ in range(3))
    found = await outcomes_of(engine, {good: [1], guilty: [POISON], other: [2]})
    assert isinstance(found[good], Chunk)
    assert isinstance(found[other], Chunk)
    assert isinstance(found[guilty], Refusal)
    assert found[guilty].reason is Reason.MODEL_FAILED


@pytest.mark.parametrize(("max_stall_s", "on_loop"), [(2e-6, True), (1e-6, False)])
async def test_work_runs_on_the_loop_only_while_it_is_expected_to_be_short(max_stall_s, on_loop):
    threads = set()
    run = MODEL.runner().run

    def noting(carry, inputs):
        threads.add(threading.current_thread())
        return run(carry, inputs)

    engine = SynchronousEngine(MODEL, run=noting)
    await outcomes_of(engine, {engine.open(): [1, 2]}, max_stall_s)
    assert (threads == {threading.main_thread()}) is on_loop


async def test_what_waits_when_the_ticker_ends_is_answered():
    engine = SynchronousEngine(MODEL)
    with ThreadPoolExecutor(1) as executor:
        task = asyncio.create_task(Ticker(executor).run(engine.model))
        await asyncio.sleep(0)
        waiting = engine.submit(engine.open(), 0, [1])
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    (outcome,) = waiting
    assert isinstance(outcome, Refusal)
    assert outcome.reason is Reason.DRAINING
