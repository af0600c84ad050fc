"""Beginning, resetting, forking and moving a session, by both clients."""

import numpy as np
import pytest

from rnnserve.client import TRANSPORT, BadInput, ServerError
from rnnserve.errors import Reason

CARRY = {"bygone": 40, "seen": [2]}


async def test_a_given_carry_goes_by_name_whatever_its_order(client):
    async with client.open("count", carry=CARRY) as session:
        assert session.index == 0
        assert (await session.step([1])).tolist() == [[3, 41]]


async def test_the_model_is_described_once_for_all_sessions_with_a_carry(client, fake):
    for _ in range(3):
        async with client.open("count", carry=CARRY):
            pass
    async with client.open("count"):
        pass
    assert fake.describes == 1


@pytest.mark.parametrize(
    ("carry", "named"),
    [
        ({"seen": [1]}, "missing: bygone"),
        ({**CARRY, "hidden": 0}, "unknown: hidden"),
        ({}, "missing: bygone, seen"),
        ({**CARRY, "seen": 2}, "'seen' has shape \\(\\), expected \\(1,\\)"),
        ({**CARRY, "seen": np.zeros((1, 1), np.int64)}, "'seen' has shape \\(1, 1\\)"),
        ({**CARRY, "bygone": 0.5}, "'bygone' is int64"),
        ({**CARRY, "seen": [[1], [2, 3]]}, "'seen'"),
    ],
)
async def test_a_wrong_carry_is_refused_before_it_is_sent(client, fake, carry, named):
    with pytest.raises(BadInput, match=named) as caught:
        async with client.open("count", carry=carry):
            pass
    assert caught.value.reason == Reason.BAD_CARRY
    assert not fake.frames
    async with client.open("count") as session:
        frames = len(fake.frames)
        with pytest.raises(BadInput, match=named):
            await session.reset(carry=carry)
        assert len(fake.frames) == frames


@pytest.mark.parametrize(
    "wanted", [{"carry": CARRY, "seed": 1}, {"scale": 1.0}, {"seed": -1}, {"seed": "x"}]
)
async def test_a_carry_that_makes_no_sense_is_refused_before_it_is_sent(client, fake, wanted):
    with pytest.raises(BadInput) as caught:
        async with client.open("count", **wanted):
            pass
    assert caught.value.reason == Reason.BAD_CARRY
    assert not fake.frames


async def test_a_seed_goes_to_the_server_with_its_scale_only_where_one_is_given(client, fake):
    async with client.open("count", seed=7, scale=0.5) as session:
        await session.reset(seed=0)
    opened, reset = (
        operation.open.carry.random if operation.HasField("open") else operation.reset.carry.random
        for frame in fake.frames
        for operation in frame.operations
        if not operation.HasField("close")
    )
    assert (opened.seed, opened.scale) == (7, 0.5)
    assert reset.seed == 0
    assert not reset.HasField("scale")


async def test_a_carry_of_another_version_than_was_described_opens_nothing(
    client, fake, monkeypatch
):
    async with client.open("count", carry=CARRY):
        pass
    opened = fake._opened

    def newer(kept):
        message = opened(kept)
        message.version += 1
        message.carry[0].name = "met"
        return message

    monkeypatch.setattr(fake, "_opened", newer)
    with pytest.raises(ServerError, match="version 4") as caught:
        async with client.open("count", carry=CARRY):
            pass
    assert caught.value.reason == Reason.BAD_CARRY
    assert len(fake.closed) == len(fake.kept) == 2
    monkeypatch.undo()
    async with client.open("count", carry=CARRY) as session:
        assert (await session.step([1])).tolist() == [[3, 41]]
    assert fake.describes == 2


async def test_a_reset_begins_the_carry_anew_and_the_index_goes_on(client):
    async with client.open("count") as session:
        await session.step([1, 2, 3])
        await session.reset()
        assert session.index == 3
        assert (await session.step([5])).tolist() == [[1, 5]]
        await session.reset(carry=CARRY)
        assert (await session.step([5])).tolist() == [[3, 45]]
        assert session.index == 5


async def test_a_reset_whose_answer_was_lost_is_sent_again(client, fake):
    async with client.open("count") as session:
        await session.step([1])
        fake.breaks = 1
        await session.reset()
        assert (await session.step([5])).tolist() == [[1, 5]]


async def test_forks_go_their_own_ways_from_where_their_parent_stood(client, fake):
    async with client.open("count") as session:
        await session.step([1, 2])
        one, other = await session.fork(2)
        assert one.index == other.index == 2
        assert (await session.step([10])).tolist() == [[3, 13]]
        assert (await one.step([20])).tolist() == [[3, 23]]
        assert (await other.step([30, 1])).tolist() == [[3, 33], [4, 34]]
        assert (session.index, one.index, other.index) == (3, 3, 4)
        assert one.outputs == session.outputs
        await one.close()
        await other.close()


async def test_a_fork_outlives_its_parent_and_is_closed_by_its_owner(client, fake):
    async with client.open("count") as session:
        (fork,) = await session.fork()
    assert fake.closed == [session.id]
    async with fork:
        assert (await fork.step([1])).tolist() == [[1, 1]]
    assert fake.closed == [session.id, fork.id]


@pytest.mark.parametrize(
    ("count", "reason"), [(0, Reason.MALFORMED), (-1, Reason.MALFORMED), (2**32, "too_many_forks")]
)
async def test_an_impossible_count_of_forks_is_refused_before_it_is_sent(client, count, reason):
    async with client.open("count") as session:
        with pytest.raises(BadInput) as caught:
            await session.fork(count)
        assert caught.value.reason == reason


async def test_more_forks_than_the_server_makes_are_none(client, fake):
    async with client.open("count") as session:
        with pytest.raises(ServerError) as caught:
            await session.fork(session.limits.max_forks + 1)
    assert caught.value.reason == Reason.TOO_MANY_FORKS
    assert len(fake.kept) == 1


async def test_a_fork_whose_answer_was_lost_is_not_sent_again(client, fake):
    async with client.open("count") as session:
        fake.breaks = 1
        with pytest.raises(ServerError) as caught:
            await session.fork()
    assert caught.value.reason == TRANSPORT
    assert len(fake.kept) == 2


async def test_a_restored_session_goes_on_as_if_nothing_had_happened(client):
    async with client.open("count") as session:
        await session.step([1, 2])
        blob = await session.export()
        assert isinstance(blob, bytes)
        gone_on = await session.step([3])
    async with client.restore("count", blob) as restored:
        assert restored.id != session.id
        assert restored.index == 2
        assert (await restored.step([3])).tolist() == gone_on.tolist()


async def test_a_restored_session_is_closed_on_leaving(client, fake):
    async with client.open("count") as session:
        blob = await session.export()
    async with client.restore("count", blob) as restored:
        pass
    assert fake.closed == [session.id, restored.id]


async def test_an_export_whose_answer_was_lost_is_sent_again(client, fake):
    async with client.open("count") as session:
        fake.breaks = 1
        assert await session.export()


@pytest.mark.parametrize(
    ("model", "blob", "reason"),
    [("count", b"{", Reason.BLOB_DAMAGED), ("pair", None, Reason.BLOB_FOREIGN)],
)
async def test_a_blob_that_does_not_fit_says_why(client, model, blob, reason):
    async with client.open("count") as session:
        blob = blob or await session.export()
    with pytest.raises(ServerError) as caught:
        async with client.restore(model, blob):
            pass
    assert caught.value.reason == reason


async def test_a_step_that_comes_too_late_has_not_happened(client, fake):
    fake.step_takes_us = 2000
    async with client.open("count") as session:
        with pytest.raises(ServerError) as caught:
            await session.step([1], timeout_s=0.0015)
        assert caught.value.reason == Reason.TOO_LATE
        assert session.index == 0
        assert (await session.step([2], timeout_s=0.003)).tolist() == [[1, 2]]
        assert (await session.step([2], timeout_s=float("inf"))).tolist() == [[2, 4]]
        assert (await session.step([2])).tolist() == [[3, 6]]


@pytest.mark.parametrize("timeout_s", [0, -1.0, float("nan")])
async def test_a_step_with_no_time_left_is_refused_before_it_is_sent(client, fake, timeout_s):
    async with client.open("count") as session:
        frames = len(fake.frames)
        with pytest.raises(BadInput) as caught:
            await session.step([1], timeout_s=timeout_s)
        assert caught.value.reason == Reason.TOO_LATE
        assert len(fake.frames) == frames


async def test_locate_finds_where_another_holder_of_the_session_left_it(client, fake):
    async with client.open("count") as session:
        fake.kept[session.id].take(5)
        assert await session.locate() == session.index == 1
        assert (await session.step([1])).tolist() == [[2, 6]]
