"""The order of what is asked of one session at once, with the asyncio client."""

import asyncio

import pytest

from rnnserve.client import BadInput, ServerError
from rnnserve.errors import Reason
from unit.client.fake import PATIENCE_S
from unit.client.held import hold, under_way


async def test_what_is_asked_of_a_session_happens_in_the_order_in_which_it_was_asked(aio):
    async with aio.open("count") as session:
        tasks = [asyncio.create_task(session.step([number])) for number in range(10)]
        reset = asyncio.create_task(session.reset())
        forking = asyncio.create_task(session.fork())
        after = asyncio.create_task(session.step([7]))
        answers = await asyncio.gather(*tasks)
        assert answers[-1].tolist() == [[10, 45]]
        await reset
        assert (await after).tolist() == [[1, 7]]
        (fork,) = await forking
        async with fork:
            assert fork.index == 10
            assert (await fork.step([3])).tolist() == [[1, 3]]


async def test_a_reset_behind_a_refused_step_changes_nothing(aio, fake):
    async with aio.open("count") as session:
        await session.step([5])
        fake.refuse_next = Reason.OVERLOADED
        tasks = [asyncio.create_task(one) for one in (session.step([1]), session.reset())]
        errors = await asyncio.gather(*tasks, return_exceptions=True)
        assert [error.reason for error in errors] == [Reason.OVERLOADED, Reason.INDEX_GAP]
        assert (await session.step([2])).tolist() == [[2, 7]]


async def test_an_operation_refused_before_it_is_sent_gives_its_turn_back(aio):
    async with aio.open("count") as session:
        for _ in range(session.limits.max_pending_chunks + 1):
            with pytest.raises(BadInput):
                await session.fork(0)
        assert (await session.step([1])).tolist() == [[1, 1]]


async def test_a_generation_waits_for_the_steps_that_were_asked_for_before_it(aio):
    async with aio.open("count") as session:
        steps = [asyncio.create_task(session.step([1])) for _ in range(10)]
        await asyncio.sleep(0)  # the tasks begin, and most of them wait for their turn
        async for _ in session.generate([2], max_tokens=3):
            pass
        assert [len(answer) for answer in await asyncio.gather(*steps)] == [1] * 10
        assert session.index == 10 + 1 + 3


async def test_steps_that_wait_to_know_the_index_keep_their_order(aio, fake):
    async with aio.open("count") as session:
        async for _ in session.generate([2]):
            break
        await asyncio.to_thread(fake.generating_ended.wait, PATIENCE_S)
        tasks = [asyncio.create_task(session.step([0])) for _ in range(3)]
        before = session.index
        for _ in range(100_000):
            if session.index != before:
                break
            await asyncio.sleep(0)
        # The first knows where it goes; the others do not yet, and came before this one.
        last = await session.step([0])
        answers = [*await asyncio.gather(*tasks), last]
    seen = [int(answer[0, 0]) for answer in answers]
    assert seen == list(range(seen[0], seen[0] + 4))


async def test_steps_started_together_run_in_the_order_in_which_they_started(aio):
    async with aio.open("count") as session:
        tasks = [asyncio.create_task(session.step([number])) for number in range(40)]
        answers = await asyncio.gather(*tasks)
    totals = [sum(range(number + 1)) for number in range(40)]
    assert [answer.tolist() for answer in answers] == [
        [[number + 1, total]] for number, total in enumerate(totals)
    ]


async def test_a_cancelled_step_leaves_the_others_alone_and_has_happened(aio, fake):
    async with aio.open("count") as session:
        hold(fake)
        steps = [asyncio.create_task(session.step([number])) for number in (1, 2, 4)]
        await under_way(fake)
        steps[1].cancel()
        fake.go_on.set()
        first, second, third = await asyncio.gather(*steps, return_exceptions=True)
        assert first.tolist() == [[1, 1]]
        assert isinstance(second, asyncio.CancelledError)
        assert third.tolist() == [[3, 7]]
        assert session.index == 3


async def test_a_step_cancelled_while_it_waits_for_its_turn_has_not_happened(aio, fake):
    async with aio.open("count") as session:
        hold(fake)
        steps = [asyncio.create_task(session.step([1])) for _ in range(4)]
        waiting = asyncio.create_task(session.step([100]))
        await under_way(fake)
        waiting.cancel()
        fake.go_on.set()
        await asyncio.gather(*steps)
        assert (await session.step([1])).tolist() == [[5, 5]]


async def test_after_a_refused_chunk_those_behind_it_change_nothing(aio, fake):
    async with aio.open("count") as session:
        fake.refuse_next = Reason.OVERLOADED
        steps = [session.step([1]), session.step([2]), session.step([3])]
        errors = await asyncio.gather(*steps, return_exceptions=True)
        assert [error.reason for error in errors] == [
            Reason.OVERLOADED,
            Reason.INDEX_GAP,
            Reason.INDEX_GAP,
        ]
        assert errors[1].facts == {"expected": "0"}
        assert session.index == 0
        assert (await session.step([9])).tolist() == [[1, 9]]


async def test_chunks_begun_after_a_refusal_are_not_set_back_by_those_before_it(aio, fake):
    async with aio.open("count") as session:
        fake.refuse_next = Reason.OVERLOADED
        lost = [asyncio.create_task(session.step([1])) for _ in range(3)]
        with pytest.raises(ServerError):
            await lost[0]
        answers = await asyncio.gather(*(session.step([2]) for _ in range(6)))
        await asyncio.gather(*lost, return_exceptions=True)
        assert answers[-1].tolist() == [[6, 12]]
        assert session.index == 6
