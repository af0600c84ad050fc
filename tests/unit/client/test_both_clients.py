"""What holds for the client with asyncio and for the one without."""

import asyncio

import grpc
import numpy as np
import pytest

from rnnserve.client import TRANSPORT, AsyncClient, BadInput, Client, ServerError
from rnnserve.errors import Reason
from unit.client.fake import PATIENCE_S
from unit.client.fake_models import LETTERS


async def test_a_step_answers_with_the_only_output_itself(client):
    async with client.open("count") as session:
        answer = await session.step([5, 6, 7])
    assert answer.dtype == np.int64
    assert answer.tolist() == [[1, 5], [2, 11], [3, 18]]


async def test_an_answer_is_the_callers_own(client):
    async with client.open("count") as session:
        answer = await session.step([5])
        answer += 1
    assert answer.tolist() == [[2, 6]]


async def test_several_outputs_come_by_name(client):
    async with client.open("pair") as session:
        y = np.array([[1, 2], [3, 4]], np.float32)
        answer = await session.step([1, 1], y)
    assert list(answer) == ["seen_and_sum", "doubled"]
    np.testing.assert_array_equal(answer["doubled"], y * 2)


async def test_a_single_step_may_leave_time_out(client):
    async with client.open("count") as session:
        assert (await session.step(9)).tolist() == [[1, 9]]
        assert (await session.step(np.int64(1))).tolist() == [[2, 10]]


async def test_the_session_keeps_the_index(client):
    async with client.open("count") as session:
        assert session.index == 0
        await session.step([1, 1, 1])
        await session.step([1])
        assert session.index == 4


async def test_opening_tells_what_a_session_is(client):
    async with client.open("pair") as session:
        assert session.id
        assert session.version == 1
        assert [str(tensor) for tensor in session.inputs] == ["x int64[]", "y float32[2]"]
        assert session.limits.max_pending_chunks == 4


async def test_leaving_closes_the_session(client, fake):
    async with client.open("count") as session:
        pass
    assert fake.closed == [session.id]


async def test_leaving_by_an_error_closes_the_session_and_lets_the_error_out(client, fake):
    with pytest.raises(ZeroDivisionError):
        async with client.open("count"):
            raise ZeroDivisionError
    assert len(fake.closed) == 1


async def test_close_tells_the_steps_and_leaving_does_not_close_again(client, fake):
    async with client.open("count") as session:
        await session.step([1, 2])
        assert await session.close() == 2
    assert fake.closed == [session.id]


async def test_a_step_after_close_is_refused_by_name(client):
    async with client.open("count") as session:
        await session.close()
        with pytest.raises(ServerError) as caught:
            await session.step([1])
    assert caught.value.reason == Reason.SESSION_CLOSED


async def test_an_unknown_model_says_so_with_facts(client):
    with pytest.raises(ServerError) as caught:
        async with client.open("nobody"):
            pass
    assert caught.value.reason == Reason.UNKNOWN_MODEL
    assert caught.value.code is grpc.StatusCode.NOT_FOUND
    assert caught.value.facts == {"model": "nobody"}
    assert str(caught.value) == "unknown_model: the fake says unknown_model"


async def test_a_refusal_for_load_says_when_to_try_again_and_the_same_step_then_goes(client, fake):
    async with client.open("count") as session:
        fake.refuse_next = Reason.OVERLOADED
        with pytest.raises(ServerError) as caught:
            await session.step([5])
        assert caught.value.retry_after_s == 0.25
        assert caught.value.facts == {"limit": "7"}
        assert session.index == 0
        assert (await session.step([5])).tolist() == [[1, 5]]


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        (([1.5],), Reason.WRONG_DTYPE),
        ((np.zeros((2, 1), np.int64),), Reason.WRONG_SIZE),
        (([],), Reason.EMPTY_CHUNK),
        (([1], [2]), Reason.WRONG_INPUT_COUNT),
        ((np.zeros(1000, np.int64),), Reason.FRAME_TOO_LARGE),
    ],
)
async def test_a_wrong_input_is_refused_before_it_is_sent(client, fake, arrays, reason):
    async with client.open("count") as session:
        frames = len(fake.frames)
        with pytest.raises(BadInput) as caught:
            await session.step(*arrays)
        assert caught.value.reason == reason
        assert len(fake.frames) == frames
        assert (await session.step([4])).tolist() == [[1, 4]]


async def test_a_step_whose_reply_was_lost_is_sent_again_and_advances_once(client, fake):
    async with client.open("count") as session:
        await session.step([1])
        fake.breaks = 1
        assert (await session.step([2])).tolist() == [[2, 3]]
        assert (await session.step([3])).tolist() == [[3, 6]]
    assert fake.advanced == 3


async def test_a_step_is_sent_again_only_once(client, fake):
    async with client.open("count") as session:
        fake.breaks = 2
        with pytest.raises(ServerError) as caught:
            await session.step([1])
        assert caught.value.reason == TRANSPORT
        # The server took it: the same step is answered, and another would be refused.
        assert session.index == 0
        assert (await session.step([1])).tolist() == [[1, 1]]


async def test_a_break_that_is_the_servers_fault_is_not_answered_by_sending_again(client, fake):
    fake.break_code = grpc.StatusCode.INTERNAL
    async with client.open("count") as session:
        fake.breaks = 1
        with pytest.raises(ServerError) as caught:
            await session.step([1])
        assert caught.value.code is grpc.StatusCode.INTERNAL
        assert fake.advanced == 1


async def test_an_open_whose_reply_was_lost_is_not_sent_again(client, fake):
    fake.breaks = 1
    with pytest.raises(ServerError):
        async with client.open("count"):
            pass
    assert len(fake.kept) == 1


async def test_steps_answers_every_chunk_in_order(client):
    async with client.open("count") as session:
        chunks = [np.full(1 + number % 3, number) for number in range(50)]
        answers = [answer async for answer in session.steps(chunks)]
    assert [len(answer) for answer in answers] == [len(chunk) for chunk in chunks]
    seen = np.concatenate(answers)[:, 0]
    assert seen.tolist() == list(range(1, len(seen) + 1))


async def test_steps_answers_what_came_before_a_bad_chunk(client):
    async with client.open("count") as session:
        answers = session.steps([[1], [2], [0.5], [3]])
        assert (await anext(answers)).tolist() == [[1, 1]]
        assert (await anext(answers)).tolist() == [[2, 3]]
        with pytest.raises(BadInput):
            await anext(answers)
        assert session.index == 2


async def test_models_lists_what_is_ready_and_what_is_broken(client):
    found = await client.models()
    assert [model.name for model in found.ready] == ["count", "pair", "letters", "mute"]
    assert found.broken[0].problem == "no [graph] in it"


async def test_the_tokenizer_comes_with_the_description(client):
    tokenizer = await client.tokenizer("letters")
    assert tokenizer.encode("dab") == [LETTERS.index(letter) for letter in "dab"]
    assert await client.tokenizer("count") is None


async def test_describing_nothing_says_unknown_model(client):
    with pytest.raises(ServerError) as caught:
        await client.describe("nobody")
    assert caught.value.reason == Reason.UNKNOWN_MODEL


async def test_generate_brings_pieces_and_then_the_end(client):
    generation = client.generate("letters", "ab", max_tokens=5, seed=3)
    assert generation.end is None
    pieces = [piece async for piece in generation]
    assert "".join(piece.text for piece in pieces) == "abcda"
    assert [piece.tokens for piece in pieces] == [(0,), (1,), (2,), (3,), (4,)]
    assert generation.end.cause == "max_tokens"
    assert (generation.end.prompt_tokens, generation.end.generated_tokens) == (2, 5)
    assert generation.end.seed == 3


async def test_generate_sends_what_was_asked_and_nothing_else(client, fake):
    sampling = {"max_tokens": 1, "temperature": 0.0, "top_k": 4, "stop": "end"}
    async for _ in client.generate("letters", [1, 2, 3], **sampling):
        pass
    asked = fake.request.sampling
    assert list(fake.request.tokens.ids) == [1, 2, 3]
    assert asked.HasField("temperature")
    assert (asked.temperature, asked.top_k, list(asked.stop)) == (0, 4, ["end"])
    assert not asked.HasField("top_p")
    assert not asked.HasField("seed")


async def test_leaving_a_generation_early_cancels_it_even_while_somebody_holds_it(client, fake):
    generation = client.generate("letters", "a")
    async for piece in generation:
        assert piece.text == "a"
        break
    await asyncio.to_thread(fake.generating_ended.wait, PATIENCE_S)
    assert fake.generating_ended.is_set()
    assert generation.end is None


async def test_an_impossible_sampling_is_refused_before_it_is_sent(client):
    with pytest.raises(BadInput) as caught:
        client.generate("letters", "a", max_tokens=-1)
    assert caught.value.reason == Reason.BAD_SAMPLING


async def test_generating_with_an_unknown_model_says_so(client):
    with pytest.raises(ServerError) as caught:
        async for _ in client.generate("nobody", "a"):
            pass
    assert caught.value.reason == Reason.UNKNOWN_MODEL


async def test_wait_ready_returns_when_the_server_answers(client):
    await client.wait_ready(PATIENCE_S)


async def test_wait_ready_gives_up_in_time():
    async with AsyncClient("127.0.0.1:1") as client:
        with pytest.raises(ServerError) as caught:
            await client.wait_ready(0.05)
    assert caught.value.reason == TRANSPORT
    with Client("127.0.0.1:1") as plain, pytest.raises(ServerError):
        plain.wait_ready(0.05)
