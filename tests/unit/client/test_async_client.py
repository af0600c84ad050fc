"""What only the client with asyncio has: one stream for all, and several steps under way."""

import asyncio
from contextlib import AsyncExitStack

import grpc
import pytest

from rnnserve.client import TRANSPORT, AsyncClient, BadInput, ServerError
from rnnserve.errors import Reason
from unit.client.fake import Running
from unit.client.held import hold, under_way


def operations(frames):
    return [operation for frame in frames for operation in frame.operations]


async def test_no_more_chunks_are_under_way_than_the_server_allows(aio, fake):
    async with aio.open("count") as session:
        hold(fake)
        before = len(fake.frames)
        steps = asyncio.gather(*(session.step([1]) for _ in range(20)))
        await under_way(fake)
        sent = len(operations(fake.frames[before:]))
        assert session.index == session.limits.max_pending_chunks
        assert sent <= session.limits.max_pending_chunks
        fake.go_on.set()
        assert [len(answer) for answer in await steps] == [1] * 20


async def test_operations_that_wait_share_a_frame_and_all_sessions_a_stream(aio, fake):
    async with aio.open("count") as one, aio.open("count") as other:
        before = len(fake.frames)
        await asyncio.gather(*(session.step([1]) for session in (one, other) * 2))
        frames = fake.frames[before:]
    assert len(frames) == 1
    assert len(frames[0].operations) == 4
    assert fake.streams == 1


async def test_no_frame_is_larger_than_the_server_takes(aio, fake):
    async with aio.open("count") as session:
        await asyncio.gather(*(session.step([7] * 300) for _ in range(4)))
    assert all(frame.ByteSize() <= session.limits.max_frame_bytes for frame in fake.frames)
    assert fake.advanced == 1200


async def test_no_frame_has_more_operations_than_the_server_takes(aio, fake):
    async with AsyncExitStack() as sessions:
        opened = [await sessions.enter_async_context(aio.open("count")) for _ in range(20)]
        before = len(fake.frames)
        await asyncio.gather(*(session.step([1]) for session in opened))
        sizes = [len(frame.operations) for frame in fake.frames[before:]]
    assert sizes == [16, 4]


async def test_everything_under_way_is_sent_again_in_order_after_a_break(aio, fake):
    async with aio.open("count") as one, aio.open("count") as other:
        fake.breaks = 1
        steps = [session.step([number]) for number in range(4) for session in (one, other)]
        answers = await asyncio.gather(*steps)
        assert [answer[0, 0] for answer in answers] == [1, 1, 2, 2, 3, 3, 4, 4]
    assert fake.advanced == 8
    assert fake.streams == 2


async def test_a_stream_that_the_server_ends_properly_is_opened_again(aio, fake):
    async with aio.open("count") as session:
        fake.break_code = grpc.StatusCode.CANCELLED
        fake.breaks = 1
        assert (await session.step([1])).tolist() == [[1, 1]]
    assert fake.streams == 2


async def test_a_server_that_dies_under_a_step_fails_it_and_every_other(running, fake):
    client = AsyncClient(running.target)
    async with client, client.open("count") as one, client.open("count") as other:
        hold(fake)
        steps = [asyncio.create_task(session.step([1])) for session in (one, other) * 4]
        await under_way(fake)
        await asyncio.to_thread(running.kill)
        errors = await asyncio.gather(*steps, return_exceptions=True)
    assert {error.reason for error in errors} == {TRANSPORT}
    assert {error.code for error in errors} == {grpc.StatusCode.UNAVAILABLE}


async def test_closing_the_client_fails_what_is_under_way(running, fake):
    async with AsyncClient(running.target) as client:
        opened = client.open("count")
        session = await opened.__aenter__()
        hold(fake)
        steps = [asyncio.create_task(session.step([1])) for _ in range(6)]
        await under_way(fake)
    errors = await asyncio.gather(*steps, return_exceptions=True)
    assert {str(error) for error in errors} == {"transport: the client was closed"}
    with pytest.raises(ServerError, match="closed"):
        await session.step([1])
    fake.go_on.set()


async def test_an_open_that_was_cancelled_is_closed_when_it_comes(aio, fake):
    hold(fake)
    opening = asyncio.create_task(aio.open("count").__aenter__())
    await under_way(fake)
    opening.cancel()
    await asyncio.gather(opening, return_exceptions=True)
    fake.go_on.set()
    await under_way(fake)
    async with aio.open("count"):
        assert fake.closed == ["session-0"]


async def test_forks_that_were_cancelled_are_closed_when_they_come(aio, fake):
    async with aio.open("count") as session:
        hold(fake)
        forking = asyncio.create_task(session.fork(2))
        await under_way(fake)
        forking.cancel()
        await asyncio.gather(forking, return_exceptions=True)
        fake.go_on.set()
        await under_way(fake)
        await session.step([1])
        assert fake.closed == ["session-1", "session-2"]


async def test_forks_share_the_stream(aio, fake):
    async with aio.open("count") as session:
        for fork in await session.fork(2):
            async with fork:
                await fork.step([1])
    assert fake.streams == 1


async def test_a_large_blob_is_refused_before_it_breaks_the_stream(aio, fake):
    async with aio.open("count") as session:
        with pytest.raises(BadInput) as caught:
            async with aio.restore("count", bytes(5000)):
                pass
        assert caught.value.reason == Reason.FRAME_TOO_LARGE
        await session.step([1])
    assert fake.streams == 1


async def test_a_client_without_a_server_fails_at_once():
    async with AsyncClient("127.0.0.1:1") as client:
        with pytest.raises(ServerError) as caught:
            async with client.open("count"):
                pass
    assert caught.value.reason == TRANSPORT


async def test_a_server_that_came_back_does_not_know_the_session(running):
    async with AsyncClient(running.target) as client, client.open("count") as session:
        await session.step([1])
        running.fake.kept.clear()
        running.fake.breaks = 1
        with pytest.raises(ServerError) as caught:
            await session.step([1])
    assert caught.value.reason == Reason.UNKNOWN_SESSION


async def test_many_sessions_at_once_each_get_their_own_answers(aio):
    async def one(number: int) -> list[list[int]]:
        async with aio.open("count") as session:
            answers = [await session.step([number]) for _ in range(5)]
        return [answer.tolist()[0] for answer in answers]

    found = await asyncio.gather(*map(one, range(50)))
    assert found == [[[step, step * number] for step in range(1, 6)] for number in range(50)]


async def test_a_generation_in_another_task_fails_when_the_client_closes(running, fake):
    first = asyncio.Event()

    async def generate(client: AsyncClient) -> None:
        async for _ in client.generate("letters", "a"):
            first.set()

    async with AsyncClient(running.target) as client:
        task = asyncio.create_task(generate(client))
        await first.wait()
    with pytest.raises(ServerError):
        await task


def test_two_clients_one_after_the_other_in_two_loops(running: Running):
    async def once() -> int:
        async with AsyncClient(running.target) as client, client.open("count") as session:
            return int((await session.step([1]))[0, 0])

    assert asyncio.run(once()) == asyncio.run(once()) == 1
