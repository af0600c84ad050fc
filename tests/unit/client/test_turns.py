"""Turns, where cancelling and handing on meet."""

import asyncio

import pytest

from rnnserve.client.turns import Turns


async def waiting(turns: Turns, count: int) -> list[asyncio.Task[None]]:
    tasks = [asyncio.create_task(turns.take()) for _ in range(count)]
    await asyncio.sleep(0)
    return tasks


async def test_a_turn_given_back_goes_to_who_waited_longest_and_to_nobody_between():
    turns = Turns(1)
    assert turns.take_now()
    first, second = await waiting(turns, 2)
    turns.give_back()
    assert not turns.take_now()
    await first
    assert not second.done()
    turns.give_back()
    await second


async def test_who_is_cancelled_while_waiting_takes_no_turn():
    turns = Turns(1)
    turns.take_now()
    first, second = await waiting(turns, 2)
    first.cancel()
    turns.give_back()
    await second
    with pytest.raises(asyncio.CancelledError):
        await first
    turns.give_back()
    assert turns.take_now()


async def test_a_turn_that_came_together_with_the_cancelling_is_handed_on():
    turns = Turns(1)
    turns.take_now()
    first, second = await waiting(turns, 2)
    turns.give_back()
    first.cancel()
    await second
    assert first.cancelled()


async def test_who_was_cancelled_alone_leaves_the_turn_free():
    turns = Turns(1)
    turns.take_now()
    (only,) = await waiting(turns, 1)
    only.cancel()
    await asyncio.gather(only, return_exceptions=True)
    turns.give_back()
    assert turns.take_now()


async def test_it_is_quiet_when_all_that_were_asked_for_before_are_given_back():
    turns = Turns(2)
    assert turns.take_now()
    assert turns.take_now()
    (third,) = await waiting(turns, 1)
    quiet = asyncio.create_task(turns.quiet())
    for _ in range(3):
        await asyncio.sleep(0)
        assert not quiet.done()
        turns.give_back()
    await third
    await quiet
