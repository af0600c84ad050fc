"""Generations in the engine: what they give, and where they leave their session."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heard import Heard
from rnnserve.engine.backlog import BacklogLimits
from rnnserve.engine.batcher import BatchLimits
from rnnserve.engine.generation import Cause, Verdict
from rnnserve.engine.session import SessionLimits
from rnnserve.errors import Reason, Refusal
from small_models import V, small_model
from synchronous_engine import SynchronousEngine, logits

MODEL = small_model("lstm", 1)
prompts = st.lists(st.integers(0, V - 1), min_size=1, max_size=20)
law = settings(max_examples=25, deadline=None)


def by_hand(prompt: list[int], count: int) -> list[int]:
    """The likeliest tokens, by stepping an engine of one's own."""
    engine, made = SynchronousEngine(MODEL), []
    session, index, fed = engine.open(), 0, prompt
    for _ in range(count):
        made.append(int(engine.step(session, index, fed)[-1].argmax()))
        index, fed = index + len(fed), made[-1:]
    return made


def generated(engine: SynchronousEngine, prompt: list[int], **how) -> Heard:
    """A generation of a session of its own, begun."""
    heard = Heard()
    engine.generate(engine.open(), prompt, heard.audience, feed_last=False, **how)
    return heard


def refused(call, *arguments) -> Reason:
    with pytest.raises(Refusal) as error:
        call(*arguments)
    return error.value.reason


@law
@given(prompt=prompts, count=st.integers(1, 12), longest=st.sampled_from([1, 3, 64]))
def test_the_likeliest_tokens_are_those_of_stepping_by_hand(prompt, count, longest):
    engine = SynchronousEngine(MODEL, sessions=SessionLimits(max_chunk_steps=longest))
    heard = generated(engine, prompt, max_tokens=count)
    engine.run_all()
    assert heard.tokens == by_hand(prompt, count)
    assert heard.end is Cause.MAX_TOKENS
    assert engine.audit() == []


@law
@given(
    prompt=prompts,
    others=st.lists(st.tuples(prompts, st.integers(0, 99), st.floats(0.5, 2)), max_size=5),
    max_rows=st.sampled_from([1, 3, 64]),
)
def test_a_seed_draws_the_same_alone_and_beside_others(prompt, others, max_rows):
    found = []
    for company in ([], others):
        engine = SynchronousEngine(MODEL, batches=BatchLimits(max_rows, 4))
        before = [
            generated(engine, other, seed=seed, temperature=temperature, max_tokens=30)
            for other, seed, temperature in company[::2]
        ]
        heard = generated(engine, prompt, seed=7, temperature=1.0, top_p=0.9, max_tokens=20)
        after = [generated(engine, other, seed=seed) for other, seed, _ in company[1::2]]
        while not heard.ends:
            engine.tick()
        found.append(heard.tokens)
        assert all(len(other.tokens) for other in before + after)
        assert engine.audit() == []
    assert found[0] == found[1]


def test_all_generations_run_in_one_batch_a_tick():
    engine = SynchronousEngine(MODEL)
    prompts_ = [[n + 1] for n in range(20)]
    heard = [generated(engine, prompt, max_tokens=10) for prompt in prompts_]
    engine.run_all()
    assert engine.notes.batches == [(20, 1)] * 10
    assert engine.notes.tokens == 20 * 10
    for prompt, one in zip(prompts_, heard, strict=True):
        assert one.tokens == by_hand(prompt, 10)


def test_generations_and_single_steps_share_their_batches():
    engine = SynchronousEngine(MODEL)
    heard = [generated(engine, [1, 2, 3, 4], max_tokens=3) for _ in range(4)]
    engine.tick()
    stepping = [engine.open() for _ in range(3)]
    answers = [engine.submit(session, 0, [5]) for session in stepping]
    engine.tick()
    assert engine.notes.batches == [(4, 4), (7, 1)]
    alone = SynchronousEngine(MODEL)
    wanted = alone.step(alone.open(), 0, [5])
    for outcomes in answers:
        np.testing.assert_allclose(logits(outcomes), wanted, atol=1e-6)
    engine.run_all()
    assert {tuple(one.tokens) for one in heard} == {tuple(by_hand([1, 2, 3, 4], 3))}


def test_the_first_of_its_stop_tokens_ends_it_and_is_told():
    tokens = by_hand([3], 12)
    stop = next(b for a, b in pairwise(tokens) if b != a)
    engine = SynchronousEngine(MODEL)
    heard = generated(engine, [3], max_tokens=12, stop_tokens=(stop,))
    engine.run_all()
    assert (heard.tokens, heard.end) == (tokens[: tokens.index(stop) + 1], Cause.STOP_TOKEN)


def test_a_stop_text_ends_it_with_the_token_that_completed_it():
    engine, heard = (
        SynchronousEngine(MODEL),
        Heard(lambda n: Verdict.STOP if n == 3 else Verdict.GO_ON),
    )
    session = engine.open()
    engine.generate(session, [3], heard.audience, max_tokens=12)
    engine.run_all()
    assert (heard.tokens, heard.end) == (by_hand([3], 3), Cause.STOP_TEXT)
    assert engine.steps(session) == 1 + 3


def test_a_pause_lasts_until_it_is_resumed_and_changes_no_token():
    engine, heard = SynchronousEngine(MODEL), Heard(lambda _: Verdict.PAUSE)
    generation = engine.generate(engine.open(), [3], heard.audience, max_tokens=4)
    for count in range(1, 5):
        engine.run_all()
        assert len(heard.tokens) == count
        assert engine.audit() == []
        generation.resume()
        generation.resume()
    engine.run_all()
    assert (heard.tokens, heard.end) == (by_hand([3], 4), Cause.MAX_TOKENS)


def test_nobody_steps_or_moves_a_session_that_generates():
    engine, heard = SynchronousEngine(MODEL), Heard(lambda _: Verdict.PAUSE)
    session = engine.open()
    generation = engine.generate(session, [3], heard.audience)
    for _ in range(2):
        for call in (engine.fork, engine.export, engine.close):
            assert refused(call, session) is Reason.SESSION_BUSY
        assert refused(engine.submit, session, 1, [1]) is Reason.SESSION_BUSY
        assert refused(engine.reset, session, 1) is Reason.SESSION_BUSY
        assert refused(engine.generate, session, [1], heard.audience) is Reason.SESSION_BUSY
        engine.run_all()
    generation.leave()
    assert engine.steps(session) == 1
    engine.step(session, 1, [1])


def test_a_session_with_steps_under_way_does_not_begin_to_generate():
    engine, heard = SynchronousEngine(MODEL), Heard()
    session = engine.open()
    outcomes = engine.submit(session, 0, [1])
    assert refused(engine.generate, session, [1], heard.audience) is Reason.SESSION_BUSY
    engine.run_all()
    assert len(logits(outcomes)) == 1
    assert heard.ends == []


def test_a_prompt_that_finds_no_room_leaves_the_session_as_it_was():
    engine = SynchronousEngine(MODEL, backlog=BacklogLimits(max_steps=3))
    session, heard = engine.open(), Heard()
    assert refused(engine.generate, session, [1] * 4, heard.audience) is Reason.OVERLOADED
    assert heard.ends == []
    assert engine.audit() == []
    engine.generate(session, [1] * 3, heard.audience, max_tokens=1)
    engine.run_all()
    assert heard.end is Cause.MAX_TOKENS


def test_a_session_that_generated_for_long_is_not_idle_right_after():
    engine, heard = SynchronousEngine(MODEL), Heard(lambda _: Verdict.PAUSE)
    session = engine.open()
    generation = engine.generate(session, [3], heard.audience, max_tokens=2)
    engine.run_all()
    engine.now_s = 1000.0
    assert engine.engine.table.expire() == 0
    generation.resume()
    engine.run_all()
    assert heard.end is Cause.MAX_TOKENS
    assert engine.engine.table.expire() == 0
    engine.step(session, 3, [1])


def test_a_prompt_longer_than_a_chunk_goes_in_chunks_so_that_others_get_their_turn():
    engine = SynchronousEngine(MODEL, sessions=SessionLimits(max_chunk_steps=8))
    prompt = [n % V for n in range(50)]
    heard = generated(engine, prompt, max_tokens=3)
    assert engine.backlog.steps == 8
    engine.run_all()
    assert max(steps for _, steps in engine.notes.batches) == 8
    assert heard.tokens == by_hand(prompt, 3)


@pytest.mark.parametrize("seeds", [(1, 1), (1, 2)])
def test_two_generations_write_alike_exactly_where_their_seeds_are_alike(seeds):
    engine = SynchronousEngine(MODEL)
    first, second = (
        generated(engine, [3], seed=seed, temperature=1.0, max_tokens=40) for seed in seeds
    )
    engine.run_all()
    assert (first.tokens == second.tokens) is (seeds[0] == seeds[1])


def test_a_penalty_on_repetitions_counts_the_prompt_and_what_was_made():
    prompt, penalty = list(range(V - 3)), 1.5
    engine, alone = SynchronousEngine(MODEL), SynchronousEngine(MODEL)
    heard = generated(engine, prompt, max_tokens=8, repetition_penalty=penalty)
    engine.run_all()
    session, index, fed, seen = alone.open(), 0, prompt, set(prompt)
    for token in heard.tokens:
        scores = alone.step(session, index, fed)[-1].copy()
        for known in seen:
            scores[known] = (
                scores[known] / penalty if scores[known] > 0 else scores[known] * penalty
            )
        assert token == scores.argmax()
        index, fed, seen = index + len(fed), [token], seen | {token}
    assert heard.tokens != by_hand(prompt, 8)
