"""Answers leave together, a slow writer holds the reader back, and nothing is lost at the end."""

import asyncio

import pytest

from rnnserve.wire.outbox import Outbox


async def test_what_is_ready_together_is_taken_together():
    outbox: Outbox[int] = Outbox(10)
    for answer in (1, 2, 3):
        outbox.promise()
        outbox.put(answer)
    outbox.finish()
    assert await outbox.take() == [1, 2, 3]
    assert await outbox.take() == []


async def test_there_is_room_again_only_when_an_answer_has_been_written():
    outbox: Outbox[int] = Outbox(1)
    outbox.promise()
    room = asyncio.create_task(outbox.room())
    outbox.put(1)
    assert await outbox.take() == [1]
    await asyncio.sleep(0)
    assert not room.done()
    taking = asyncio.create_task(outbox.take())
    await room
    outbox.finish()
    assert await taking == []


async def test_the_end_waits_for_every_promise():
    outbox: Outbox[int] = Outbox(10)
    outbox.promise()
    outbox.finish()
    taking = asyncio.create_task(outbox.take())
    await asyncio.sleep(0)
    assert not taking.done()
    outbox.put(7)
    assert await taking == [7]
    assert await outbox.take() == []


async def test_a_failure_comes_after_what_was_ready():
    outbox: Outbox[int] = Outbox(10)
    outbox.promise()
    outbox.put(1)
    outbox.fail(ValueError("later"))
    assert await outbox.take() == [1]
    with pytest.raises(ValueError, match="later"):
        await outbox.take()
