"""Answers leave together, a slow writer holds the reader back, and nothing is lost at the end."""

import asyncio

import pytest

from rnnserve.v1 import rnnserve_pb2 as v1
from rnnserve.wire.exchange_answers import ExchangeAnswers
from rnnserve.wire.stream_answers import MAX_EVENTS_BYTES, StreamAnswers


def fill(answers: StreamAnswers | ExchangeAnswers, number: int, size_bytes: int = 0) -> None:
    answers.put(number, v1.Event(id=number, exported=v1.Exported(blob=bytes(size_bytes))))


def ids(frames) -> list[list[int]]:
    return [[event.id for event in frame.events] for frame in frames]


async def test_what_is_ready_together_travels_together():
    answers = StreamAnswers(10, 1000)
    answers.promise(3)
    for number in (1, 2, 3):
        fill(answers, number)
    answers.finish()
    assert ids(await answers.take()) == [[1, 2, 3]]
    assert await answers.take() == []


async def test_a_message_is_not_much_larger_than_the_limit():
    answers = StreamAnswers(10, 10 * MAX_EVENTS_BYTES)
    answers.promise(3)
    for number in (1, 2, 3):
        fill(answers, number, MAX_EVENTS_BYTES)
    assert ids(await answers.take()) == [[1], [2], [3]]


@pytest.mark.parametrize(("limits", "size_bytes"), [((1, 10**6), 0), ((10, 1000), 1000)])
async def test_there_is_room_again_only_when_an_answer_has_been_written(limits, size_bytes):
    answers = StreamAnswers(*limits)
    answers.promise(1)
    fill(answers, 1, size_bytes)
    room = asyncio.create_task(answers.room())
    assert ids(await answers.take()) == [[1]]
    await asyncio.sleep(0)
    assert not room.done()
    taking = asyncio.create_task(answers.take())
    await room
    answers.finish()
    assert await taking == []


async def test_the_end_waits_for_every_promise():
    answers = StreamAnswers(10, 1000)
    answers.promise(1)
    answers.finish()
    taking = asyncio.create_task(answers.take())
    await asyncio.sleep(0)
    assert not taking.done()
    fill(answers, 7)
    assert ids(await taking) == [[7]]
    assert await answers.take() == []


async def test_a_failure_comes_after_what_was_ready():
    answers = StreamAnswers(10, 1000)
    answers.promise(1)
    fill(answers, 1)
    answers.fail(ValueError("later"))
    assert ids(await answers.take()) == [[1]]
    with pytest.raises(ValueError, match="later"):
        await answers.take()


async def test_the_unary_twin_answers_in_the_operations_order():
    answers = ExchangeAnswers(3)
    whole = asyncio.create_task(answers.complete())
    for place in (2, 0, 1):
        assert not whole.done()
        fill(answers, place)
        await asyncio.sleep(0)
    assert ids([await whole]) == [[0, 1, 2]]
    assert not (await ExchangeAnswers(0).complete()).events
