"""Generating from a session or a fork of it, by both clients."""

import asyncio
from contextlib import aclosing

import pytest

from rnnserve.client import BadInput, ServerError
from rnnserve.errors import Reason
from unit.client.fake import PATIENCE_S


async def drained(generation):
    return [piece async for piece in generation]


async def test_a_generation_moves_its_session_to_where_its_end_says(client):
    async with client.open("count") as session:
        await session.step([5])
        generation = session.generate([1, 1], max_tokens=3)
        assert session.index == 1
        await drained(generation)
        assert (generation.end.session_id, generation.end.index) == (session.id, 6)
        assert session.index == 6
        # 5 and the prompt 1, 1 and the tokens 0, 1, 2
        assert (await session.step([0])).tolist() == [[7, 10]]


async def test_a_session_that_took_a_step_needs_no_prompt(client, fake):
    async with client.open("letters") as session:
        await session.step([1])
        await drained(session.generate(max_tokens=2))
        assert fake.request.WhichOneof("prompt") is None
        assert fake.request.model == ""
        assert session.index == 3


async def test_one_that_took_none_needs_one_and_stays_where_it_is(client):
    async with client.open("letters") as session:
        with pytest.raises(ServerError) as caught:
            await drained(session.generate())
        assert caught.value.reason == Reason.EMPTY_CHUNK
        await session.step([1, 2])
        assert session.index == 2


async def test_after_a_generation_was_left_the_next_operation_finds_the_index(client, fake):
    async with client.open("count") as session:
        async for piece in session.generate([4]):
            if piece.tokens == (2,):
                break
        await asyncio.to_thread(fake.generating_ended.wait, PATIENCE_S)
        answer = await session.step([0])
        kept = fake.kept[session.id]
        assert kept.seen >= 1 + 3 + 1
        assert session.index == kept.index == answer[0, 0]


@pytest.mark.parametrize("operation", ["reset", "fork", "export", "close", "generate", "leave"])
async def test_every_operation_after_it_finds_the_index(client, fake, operation):
    async with client.open("count") as session:
        async for _ in session.generate([4]):
            break
        await asyncio.to_thread(fake.generating_ended.wait, PATIENCE_S)
        fake.busy_answers = 2
        if operation == "generate":
            await drained(session.generate(max_tokens=1))
        elif operation != "leave":
            await getattr(session, operation)()
        if operation not in ("close", "leave"):
            assert session.index == fake.kept[session.id].index
    assert session.id in fake.closed


async def test_a_server_that_notices_late_that_it_was_left_is_asked_again(client, fake):
    async with client.open("count") as session:
        async for _ in session.generate([4]):
            break
        await asyncio.to_thread(fake.generating_ended.wait, PATIENCE_S)
        fake.busy_answers = 3
        await session.step([0])
        assert fake.busy_answers == 0
        assert session.index == fake.kept[session.id].index


async def test_while_it_generates_a_session_takes_nothing_else(client, fake):
    async with client.open("count") as session:
        generation = session.generate([4])
        pieces = aiter(generation)
        await anext(pieces)
        frames = len(fake.frames)
        with pytest.raises(ServerError) as caught:
            await session.step([1])
        assert caught.value.reason == Reason.SESSION_BUSY
        assert len(fake.frames) == frames + 1
        assert (await anext(pieces)).tokens == (1,)
        await pieces.aclose()


async def test_a_generation_from_a_fork_leaves_the_session_as_it_is(client, fake):
    async with client.open("count") as session:
        await session.step([5])
        generation = session.generate([1], fork=True, max_tokens=2)
        assert generation.fork is None
        frames = len(fake.frames)
        await drained(generation)
        assert session.index == 1
        assert (await session.step([1])).tolist() == [[2, 6]]
        assert len(fake.frames) == frames + 1
        async with generation.fork as fork:
            assert (fork.id, fork.index) == (generation.end.session_id, 4)
            assert (await fork.step([1])).tolist() == [[5, 8]]
    assert fake.closed == [fork.id, session.id]


async def test_a_fork_whose_generation_was_left_is_nobodys(client, fake):
    async with client.open("count") as session:
        generation = session.generate([1], fork=True)
        async for _ in generation:
            break
        await asyncio.to_thread(fake.generating_ended.wait, PATIENCE_S)
        assert generation.fork is None
        assert (await session.step([1])).tolist() == [[1, 1]]


@pytest.mark.parametrize("left_by", ["aclose", "an exception", "a cancel"])
async def test_a_fork_that_is_left_after_its_end_was_written_is_closed(client, fake, left_by):
    async with client.open("count") as session:
        generation = session.generate([1], fork=True, max_tokens=3)

        async def listen() -> None:
            async with aclosing(aiter(generation)) as pieces:
                await anext(pieces)
                await asyncio.to_thread(fake.end_written.wait, PATIENCE_S)
                if left_by == "an exception":
                    raise LookupError
                if left_by == "a cancel":
                    listening.cancel()
                    await asyncio.sleep(PATIENCE_S)

        listening = asyncio.create_task(listen())
        await asyncio.gather(listening, return_exceptions=True)
        assert generation.end is generation.fork is None
        # Behind it on the way.
        await session.step([1])
        (fork_id,) = fake.kept.keys() - {session.id}
        assert fake.closed == [fork_id]
    assert not fake.discarded


async def test_a_fork_whose_end_was_read_is_not_closed_for_its_owner(client, fake):
    async with client.open("count") as session:
        generation = session.generate([1], fork=True, max_tokens=3)
        await drained(generation)
        await session.step([1])
        assert not fake.closed
        await generation.fork.close()


async def test_a_session_of_somebodys_own_is_not_closed_when_its_generation_is_left(client, fake):
    async with client.open("count") as session:
        pieces = aiter(session.generate([1], max_tokens=3))
        await anext(pieces)
        await asyncio.to_thread(fake.end_written.wait, PATIENCE_S)
        await pieces.aclose()
        await session.step([1])
        assert not fake.closed


async def test_a_stop_token_is_sent_and_ends_it(client, fake):
    generation = client.generate("letters", "a", stop_tokens=[9, 2], max_tokens=8)
    pieces = await drained(generation)
    assert [piece.tokens for piece in pieces] == [(0,), (1,), (2,)]
    assert generation.end.cause == "stop_token"
    assert (generation.end.session_id, generation.end.index) == ("", 0)


async def test_log_probabilities_come_with_their_tokens_where_asked_for(client):
    asked = await drained(client.generate("letters", "a", max_tokens=3, logprobs=True))
    assert [piece.logprobs for piece in asked] == [(0.0,), (-0.125,), (-0.25,)]
    assert (await drained(client.generate("letters", "a", max_tokens=1)))[0].logprobs == ()


async def test_the_penalty_goes_to_the_server_only_where_one_is_given(client, fake):
    await drained(client.generate("letters", "a", max_tokens=1, repetition_penalty=1.25))
    assert fake.request.sampling.repetition_penalty == 1.25
    await drained(client.generate("letters", "a", max_tokens=1))
    assert not fake.request.sampling.HasField("repetition_penalty")


async def test_an_impossible_stop_token_is_refused_before_it_is_sent(client):
    async with client.open("letters") as session:
        with pytest.raises(BadInput) as caught:
            session.generate("a", stop_tokens=[2**63])
        assert caught.value.reason == Reason.BAD_SAMPLING
