"""Generate over the wire: from a session, from a fork of one, and what it promises of tokens."""

import time

import grpc
import numpy as np
import pytest

from raw_session import (
    RawStream,
    close,
    exchange,
    fork,
    logits,
    numbered,
    open_session,
    reason_of,
    refusal,
    reset,
    step,
)
from rnnserve.v1 import rnnserve_pb2 as v1
from rnnserve.v1 import rnnserve_pb2_grpc
from server_process import ServerProcess
from small_models import V, small_model

MODEL = small_model("gru", 2)
BEFORE = [9, 2, 5]


@pytest.fixture
def session(stub):
    session_id = open_session(stub, "gru2")
    exchange(stub, step(session_id, 0, BEFORE))
    yield session_id
    exchange(stub, close(session_id))


def wanted(tokens) -> np.ndarray:
    """The logits (V,) after these tokens, by the equations."""
    return MODEL.reference(MODEL.reference.initial_carry(1), np.array([tokens]))[1][0, -1]


def likeliest(fed: list[int], count: int) -> list[int]:
    made: list[int] = []
    for _ in range(count):
        made.append(int(wanted(fed + made).argmax()))
    return made


def generate(stub, ids: list[int] | None = None, *, sampling: dict | None = None, **fields):
    """All tokens, all logprobs, and the end."""
    how = v1.Sampling(**{"temperature": 0.0, "max_tokens": 6} | (sampling or {}))
    prompt = {"tokens": v1.TokenIds(ids=ids)} if ids else {}
    replies = list(stub.Generate(v1.GenerateRequest(sampling=how, **prompt, **fields)))
    assert [reply.HasField("end") for reply in replies] == [False] * (len(replies) - 1) + [True]
    tokens = [token for reply in replies for token in reply.tokens]
    logprobs = [logprob for reply in replies for logprob in reply.logprobs]
    return tokens, logprobs, replies[-1].end


@pytest.mark.parametrize("named", ["", "gru2"])
def test_a_session_is_left_after_the_last_token_and_goes_on_rightly(stub, session, named):
    tokens, _, end = generate(stub, [7, 8], session_id=session, model=named)
    fed = [*BEFORE, 7, 8]
    assert tokens == likeliest(fed, 6)
    assert (end.cause, end.session_id, end.index) == (end.MAX_TOKENS, session, 11)
    (event,) = exchange(stub, step(session, 11, [1]))
    np.testing.assert_allclose(logits(event, V)[0], wanted([*fed, *tokens, 1]), atol=1e-5)
    again, _, end = generate(stub, session_id=session)
    assert again == likeliest([*fed, *tokens, 1], 6)
    assert (end.prompt_tokens, end.index) == (0, 18)


def test_a_fork_is_named_at_the_end_and_its_parent_stays_where_it_was(stub, session):
    tokens, _, end = generate(stub, session_id=session, fork=True)
    assert tokens == likeliest(BEFORE, 6)
    assert end.session_id not in ("", session)
    assert end.index == 9
    here, there, closed = exchange(
        stub, step(session, 3, [1]), step(end.session_id, 9, [1]), close(end.session_id)
    )
    np.testing.assert_allclose(logits(here, V)[0], wanted([*BEFORE, 1]), atol=1e-5)
    np.testing.assert_allclose(logits(there, V)[0], wanted([*BEFORE, *tokens, 1]), atol=1e-5)
    assert closed.closed.steps == 10


def test_a_generation_of_its_own_names_no_session(stub):
    _, _, end = generate(stub, [1], model="gru2")
    assert (end.session_id, end.index) == ("", 0)


def test_a_cancelled_fork_leaves_its_parent_alone_and_a_cancelled_session_lives(stub, session):
    """What is left behind is looked at by the fixture `stub`."""
    endless = v1.Sampling(max_tokens=65_536)
    for forked in (True, False):
        call = stub.Generate(v1.GenerateRequest(session_id=session, fork=forked, sampling=endless))
        next(call)
        call.cancel()
        while stub.Audit(v1.AuditRequest()).generations:
            pass
        assert stub.Audit(v1.AuditRequest()).sessions == 1
        (event,) = exchange(stub, fork(session))
        index = event.forked.index
        assert (index == 3) is forked
        for child in event.forked.session_ids:
            exchange(stub, close(child))
    (event,) = exchange(stub, step(session, index, [1]))
    assert event.stepped.index == index


def test_nothing_else_moves_a_session_that_generates(stub, session):
    call = stub.Generate(
        v1.GenerateRequest(session_id=session, sampling=v1.Sampling(max_tokens=65_536))
    )
    next(call)
    operations = (step(session, 3, [1]), reset(session, 3), fork(session), close(session))
    for event in exchange(stub, *operations):
        assert refusal(event)[:2] == ("FAILED_PRECONDITION", "session_busy")
    for forked in (True, False):
        with pytest.raises(grpc.RpcError) as error:
            list(stub.Generate(v1.GenerateRequest(session_id=session, fork=forked)))
        assert error.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert reason_of(error.value) == "session_busy"
    call.cancel()
    while stub.Audit(v1.AuditRequest()).generations:
        pass


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"session_id": "nobody"}, "unknown_session"),
        ({"session_id": "nobody", "fork": True}, "unknown_session"),
        ({"model": "lstm1"}, "unknown_model"),
        ({"model": "gru2", "version": 5}, "unknown_model"),
        ({"tokens": v1.TokenIds(ids=[-1])}, "value_out_of_range"),
        ({"tokens": v1.TokenIds(ids=[1, V])}, "value_out_of_range"),
        ({"sampling": {"repetition_penalty": 0}}, "bad_sampling"),
        ({"sampling": {"repetition_penalty": float("nan")}}, "bad_sampling"),
        ({"sampling": {"stop_tokens": [-1]}}, "bad_sampling"),
        ({"sampling": {"stop_tokens": [1] * 65}}, "bad_sampling"),
        ({"sampling": {"max_tokens": 65_537}}, "bad_sampling"),
    ],
)
def test_a_generation_that_cannot_be_leaves_its_session_as_it_was(stub, session, fields, reason):
    with pytest.raises(grpc.RpcError) as error:
        list(stub.Generate(v1.GenerateRequest(**{"session_id": session} | fields)))
    assert reason_of(error.value) == reason
    (event,) = exchange(stub, step(session, 3, [1]))
    assert event.stepped.index == 3


def test_after_a_reset_an_empty_prompt_has_nothing_to_go_on_from(stub, session):
    exchange(stub, reset(session, 3))
    with pytest.raises(grpc.RpcError) as error:
        list(stub.Generate(v1.GenerateRequest(session_id=session)))
    assert reason_of(error.value) == "empty_chunk"


def test_logprobs_are_the_models_own_one_a_token_where_asked_for(stub):
    how = {"temperature": 2.0, "seed": 4, "max_tokens": 40, "top_k": 5, "repetition_penalty": 1.3}
    tokens, logprobs, _ = generate(stub, [3], model="gru2", sampling=how | {"logprobs": True})
    assert len(logprobs) == len(tokens) == 40
    for place, logprob in enumerate(logprobs):
        scores = wanted([3, *tokens[:place]])
        assert logprob == pytest.approx(
            scores[tokens[place]] - np.log(np.exp(scores).sum()), abs=1e-4
        )
    again, none, _ = generate(stub, [3], model="gru2", sampling=how)
    assert (again, none) == (tokens, [])


def test_a_stop_token_is_the_last_one_sent(stub):
    how = {"temperature": 1.0, "seed": 4, "max_tokens": 40}
    whole, _, _ = generate(stub, [3], model="gru2", sampling=how)
    stop = whole[20]
    tokens, _, end = generate(
        stub, [3], model="gru2", sampling=how | {"stop_tokens": [V + 5, stop]}
    )
    assert tokens == whole[: whole.index(stop) + 1]
    assert (end.cause, end.generated_tokens) == (end.STOP_TOKEN, len(tokens))


def test_a_penalty_on_repetitions_makes_fewer_of_them(stub):
    often, seldom = (
        generate(stub, [3], model="gru2", sampling={"max_tokens": 20, "repetition_penalty": p})[0]
        for p in (1.0, 1e6)
    )
    assert len(set(often)) < len(set(seldom))
    assert len(set(seldom)) >= 10


def test_a_prompt_is_cut_into_chunks_that_are_answered_like_a_whole_one(stub):
    """Of 2,000 tokens, where a chunk has 512 at most, beside a client of single steps."""
    prompt = [n % V for n in range(2000)]
    stream, other = RawStream(stub), open_session(stub, "gru2")
    call = stub.Generate(
        v1.GenerateRequest(
            model="gru2",
            tokens=v1.TokenIds(ids=prompt),
            sampling=v1.Sampling(temperature=0.0, max_tokens=3),
        )
    )
    stream.send(numbered(step(other, 0, [1]), 1))
    assert stream.events(1)[1].stepped.index == 0
    tokens = [token for reply in call for token in reply.tokens]
    assert tokens == likeliest(prompt, 3)
    stream.send(numbered(close(other), 2))
    stream.events(1)
    stream.finish()


def test_a_hundred_generations_at_once_each_write_what_they_write_alone(stub):
    prompts = [[n % V, (3 * n) % V] for n in range(100)]
    calls = [
        stub.Generate(
            v1.GenerateRequest(
                model="gru2",
                tokens=v1.TokenIds(ids=prompt),
                sampling=v1.Sampling(temperature=0.0, max_tokens=8),
            )
        )
        for prompt in prompts
    ]
    for prompt, call in zip(prompts, calls, strict=True):
        assert [token for reply in call for token in reply.tokens] == likeliest(prompt, 8)


def test_a_prompt_of_too_many_tokens_and_too_many_stops_are_refused(stub):
    long = v1.GenerateRequest(model="gru2", tokens=v1.TokenIds(ids=[1] * 65_537))
    stops = v1.GenerateRequest(
        model="gru2", tokens=v1.TokenIds(ids=[1]), sampling=v1.Sampling(stop_tokens=[1] * 100_000)
    )
    for request, reason in ((long, "chunk_too_long"), (stops, "bad_sampling")):
        with pytest.raises(grpc.RpcError) as error:
            list(stub.Generate(request))
        assert reason_of(error.value) == reason


def test_a_generation_that_nobody_reads_ends_and_gives_its_slot_back(repository):
    with (
        ServerProcess(repository, "--idle-timeout-s", "0.3") as server,
        # A window that doesn't grow, so that what isn't read piles up at the server.
        grpc.insecure_channel(server.target, [("grpc.http2.bdp_probe", 0)]) as channel,
    ):
        stub = rnnserve_pb2_grpc.RnnServeStub(channel)
        request = v1.GenerateRequest(
            model="gru2", tokens=v1.TokenIds(ids=[1]), sampling=v1.Sampling(logprobs=True)
        )
        call = stub.Generate(request)
        next(call)  # and no more
        until_s = time.monotonic() + 300
        while stub.Audit(v1.AuditRequest()).sessions and time.monotonic() < until_s:
            pass
        assert stub.Audit(v1.AuditRequest()).sessions == 0
        with pytest.raises(grpc.RpcError) as error:
            list(call)
        assert reason_of(error.value) == "session_expired"
