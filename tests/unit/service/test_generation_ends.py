"""A generation ends before or after a token, leaves its session there, and takes nobody along."""

import numpy as np
import pytest

from heard import Heard
from rnnserve.engine.batcher import BatchLimits
from rnnserve.engine.generation import Audience, Cause, Verdict
from rnnserve.engine.session import SessionLimits
from rnnserve.errors import Reason, Refusal
from small_models import small_model
from synchronous_engine import SynchronousEngine, failing_on

MODEL = small_model("lstm", 1, seed=2)
PROMPT = [28, 9, 26, 17]
"""One block long; the six likeliest tokens after it are all different."""


def wanted(tokens: list[int]) -> np.ndarray:
    """The logits (T, V) by the equations."""
    carry = MODEL.reference.initial_carry(1)
    return MODEL.reference(carry, np.array([tokens]))[1][0]


def likeliest(fed: list[int], count: int) -> list[int]:
    made: list[int] = []
    for _ in range(count):
        made.append(int(wanted(fed + made)[-1].argmax()))
    return made


def goes_on_rightly(engine: SynchronousEngine, session: str, fed: list[int]) -> None:
    """The session stands after exactly these tokens: its index, its carry, and its next answer."""
    assert engine.steps(session) == len(fed)
    carry = MODEL.reference.initial_carry(1)
    if fed:
        carry, _ = MODEL.reference(carry, np.array([fed]))
    for entry, array in zip(MODEL.spec.carry, engine.carry(session), strict=True):
        np.testing.assert_allclose(array, carry[entry.input_name][0], atol=1e-5)
    found = engine.step(session, len(fed), [9])
    np.testing.assert_allclose(found, wanted([*fed, 9])[-1:], atol=1e-5)
    assert engine.audit() == []


@pytest.mark.parametrize("before", [[], [7, 8]])
def test_an_open_session_is_left_exactly_after_the_last_token(before):
    engine, heard = SynchronousEngine(MODEL), Heard()
    session = engine.open()
    if before:
        engine.step(session, 0, before)
    engine.generate(session, PROMPT, heard.audience, max_tokens=5)
    engine.run_all()
    assert heard.tokens == likeliest(before + PROMPT, 5)
    assert engine.notes.tokens == 5
    goes_on_rightly(engine, session, before + PROMPT + heard.tokens)


def test_an_empty_prompt_goes_on_from_the_latest_step_and_again_from_the_last_token():
    engine = SynchronousEngine(MODEL)
    session, fed = engine.open(), list(PROMPT)
    engine.step(session, 0, PROMPT)
    for _ in range(3):
        heard = Heard()
        engine.generate(session, [], heard.audience, max_tokens=2)
        engine.run_all()
        assert heard.tokens == likeliest(fed, 2)
        fed += heard.tokens
    goes_on_rightly(engine, session, fed)


def test_a_fork_goes_on_from_its_parents_latest_step():
    engine, heard = SynchronousEngine(MODEL), Heard()
    session = engine.open()
    engine.step(session, 0, PROMPT)
    fork = engine.engine.fork_now(engine.engine.session(session)).session.id
    engine.generate(fork, [], heard.audience, max_tokens=3)
    engine.run_all()
    assert heard.tokens == likeliest(PROMPT, 3)
    goes_on_rightly(engine, fork, PROMPT + heard.tokens)
    goes_on_rightly(engine, session, PROMPT)


@pytest.mark.parametrize("since", ["the beginning", "a reset", "an import"])
def test_an_empty_prompt_has_nothing_to_go_on_from(since):
    engine, heard = SynchronousEngine(MODEL), Heard()
    session = engine.open()
    if since != "the beginning":
        engine.step(session, 0, PROMPT)
    if since == "a reset":
        engine.reset(session, 4)
    if since == "an import":
        ((blob, _),) = engine.export(session)
        session = engine.restore(blob)
    with pytest.raises(Refusal) as error:
        engine.generate(session, [], heard.audience)
    assert error.value.reason is Reason.EMPTY_CHUNK
    assert heard.ends == []
    engine.step(session, engine.steps(session), [1])


def leave_at(moment: str) -> tuple[SynchronousEngine, str, Heard]:
    """A generation of an open session that nobody wants any more, and one tick later."""
    engine = SynchronousEngine(MODEL)
    heard = Heard(lambda n: Verdict.PAUSE if (moment, n) == ("paused", 2) else Verdict.GO_ON)
    session = engine.open()
    generation = engine.generate(session, PROMPT, heard.audience, max_tokens=50)
    running = None
    match moment:
        case "while the prompt runs":
            running = engine.begin()
        case "waiting":
            engine.tick(), engine.tick()
        case "running":
            engine.tick()
            running = engine.begin()
        case "paused":
            engine.run_all()
    generation.leave()
    generation.leave()
    if running:
        engine.finish(running)
    else:
        engine.tick()
    return engine, session, heard


MOMENTS = ("before the prompt", "while the prompt runs", "waiting", "running", "paused")


@pytest.mark.parametrize("moment", MOMENTS)
def test_leaving_ends_it_within_a_tick_before_or_after_a_token(moment):
    engine, session, heard = leave_at(moment)
    assert heard.end is Cause.LEFT
    assert not engine.model.generations
    made = heard.tokens
    if moment == "before the prompt":
        fed = []
    else:
        fed = PROMPT + (made if engine.steps(session) == 4 + len(made) else made[:-1])
    assert not engine.tick()
    goes_on_rightly(engine, session, fed)


@pytest.mark.parametrize("moment", ["waiting", "running", "paused"])
def test_a_session_that_was_left_generates_on_from_where_it_stands(moment):
    engine, session, heard = leave_at(moment)
    taken = (PROMPT + heard.tokens)[: engine.steps(session)]
    again = Heard()
    engine.generate(session, [], again.audience, max_tokens=2)
    engine.run_all()
    assert again.tokens == likeliest(taken, 2)


@pytest.mark.parametrize(("running", "taken"), [(False, 4), (True, 8)])
def test_leaving_a_prompt_of_several_chunks_ends_it_before_or_after_a_chunk(running, taken):
    engine, heard = SynchronousEngine(MODEL, sessions=SessionLimits(max_chunk_steps=4)), Heard()
    session, prompt = engine.open(), list(range(20))
    generation = engine.generate(session, prompt, heard.audience)
    engine.tick()
    if running:
        work = engine.begin()
        generation.leave()
        engine.finish(work)
    else:
        generation.leave()
    assert heard.end is Cause.LEFT
    goes_on_rightly(engine, session, prompt[:taken])


def test_leaving_within_a_chunk_of_several_blocks_takes_none_of_it():
    engine, heard = SynchronousEngine(MODEL, batches=BatchLimits(max_block_steps=4)), Heard()
    session = engine.open()
    engine.step(session, 0, PROMPT)
    generation = engine.generate(session, list(range(20)), heard.audience)
    engine.tick()
    work = engine.begin()
    generation.leave()
    engine.finish(work)
    assert heard.end is Cause.LEFT
    goes_on_rightly(engine, session, PROMPT)


@pytest.mark.parametrize("moment", ["waiting", "paused"])
def test_resuming_what_has_ended_does_nothing(moment):
    engine, heard = SynchronousEngine(MODEL), Heard(lambda _: Verdict.PAUSE)
    session = engine.open()
    generation = engine.generate(session, PROMPT, heard.audience)
    engine.run_all()
    if moment == "waiting":
        generation.resume()
    generation.leave()
    generation.resume()
    assert engine.audit() == []
    assert not engine.tick()
    goes_on_rightly(engine, session, PROMPT)


def test_scores_that_are_no_numbers_end_one_generation_and_no_other():
    run = MODEL.runner().run
    sick = likeliest([7], 2)[-1]

    def nan_after_it(carry, inputs):
        carry, (scores,) = run(carry, inputs)
        scores = scores.copy()
        scores[(inputs[0] == sick).any(axis=1)] = np.nan
        return carry, (scores,)

    engine = SynchronousEngine(MODEL, run=nan_after_it)
    sessions, heard = [engine.open() for _ in range(3)], [Heard() for _ in range(3)]
    prompts = [[7], PROMPT, [10]]
    for session, prompt, one in zip(sessions, prompts, heard, strict=True):
        engine.generate(session, prompt, one.audience, max_tokens=6)
    engine.run_all()
    assert isinstance(heard[0].end, Refusal)
    assert heard[0].end.reason is Reason.MODEL_FAILED
    assert heard[0].tokens == likeliest([7], 2)
    for prompt, one in list(zip(prompts, heard, strict=True))[1:]:
        if sick not in likeliest(prompt, 6):
            assert (one.tokens, one.end) == (likeliest(prompt, 6), Cause.MAX_TOKENS)
    again = Heard()
    engine.generate(sessions[0], [], again.audience)
    assert again.tokens == []  # what it stands after gives no token, now as before
    assert isinstance(again.end, Refusal)
    assert engine.audit() == []


@pytest.mark.parametrize("where", ["prompt", "token"])
def test_a_row_that_fails_ends_its_generation_alone(where):
    made = likeliest([7], 3)
    poison = 7 if where == "prompt" else made[1]
    engine = SynchronousEngine(MODEL, run=failing_on(poison, MODEL.runner().run))
    guilty, good = engine.open(), engine.open()
    failed, heard = Heard(), Heard()
    engine.generate(guilty, [7], failed.audience, max_tokens=5)
    engine.generate(good, PROMPT, heard.audience, max_tokens=5, stop_tokens=(poison,))
    engine.run_all()
    assert isinstance(failed.end, Refusal)
    assert failed.end.reason is Reason.MODEL_FAILED
    assert heard.tokens == likeliest(PROMPT, 5)[: len(heard.tokens)]
    assert isinstance(heard.end, Cause)
    fed = [] if where == "prompt" else [7, *made[: made.index(poison)]]
    assert engine.steps(guilty) == len(fed)
    if fed:
        again = Heard()
        engine.generate(guilty, [], again.audience, max_tokens=1, feed_last=False)
        assert again.tokens == likeliest(fed, 1)


def test_an_audience_that_fails_ends_its_own_generation_and_no_other(caplog):
    def broken(token: int, logprob: float | None) -> Verdict:
        raise RuntimeError("an audience's own trouble")

    engine, heard, ends = SynchronousEngine(MODEL), Heard(), []
    session, other = engine.open(), engine.open()
    engine.generate(session, PROMPT, Audience(broken, ends.append), max_tokens=5)
    engine.generate(other, PROMPT, heard.audience, max_tokens=5)
    engine.run_all()
    assert heard.tokens == likeliest(PROMPT, 5)
    assert len(ends) == 1
    assert not engine.model.generations
    assert engine.audit() == []


def test_everything_that_generates_is_told_when_the_ticker_is_gone():
    engine = SynchronousEngine(MODEL)
    heard = [Heard(), Heard(lambda _: Verdict.PAUSE), Heard()]
    generations = [engine.generate(engine.open(), PROMPT, one.audience) for one in heard[:2]]
    engine.tick()
    generations.append(engine.generate(engine.open(), PROMPT, heard[2].audience))
    engine.model.abandon(Refusal(Reason.DRAINING, "gone"))
    for generation, one in zip(generations, heard, strict=True):
        assert isinstance(one.end, Refusal)
        assert one.end.reason is Reason.DRAINING
        generation.resume()
        generation.leave()


def test_refusing_a_busy_session_again_and_again_piles_up_nothing():
    engine, heard = SynchronousEngine(MODEL), Heard(lambda _: Verdict.PAUSE)
    session, lengths = engine.open(), []
    engine.generate(session, PROMPT, heard.audience)
    for _ in range(3):
        with pytest.raises(Refusal) as error:
            engine.submit(session, 4, [1])
        lengths.append(len(error.traceback))
    assert lengths[0] == lengths[1] == lengths[2]
