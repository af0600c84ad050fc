"""A Generate call ends in whatever way: its session is closed, or left, and nothing is held."""

import pytest

from rnnserve.engine.backlog import BacklogLimits
from rnnserve.engine.table import TableLimits
from rnnserve.errors import Reason, Refusal
from rnnserve.v1 import rnnserve_pb2 as v1
from rnnserve.wire.pieces import MAX_UNSENT_TOKENS
from small_models import small_model
from unit.service.calls import Client, Wire, tasks, turn, vanish

MODEL = small_model("gru", 1)
MOMENTS = ("before it begins", "queued", "running", "between tokens", "while written to", "paused")


def begun(wire: Wire, kind: str) -> tuple[dict, set[str]]:
    """What to ask for, and the sessions that have to be there afterwards."""
    if kind == "own":
        return {"model": wire.name}, set()
    session = wire.outside.open()
    wire.outside.step(session, 0, [1, 2])
    return {"session_id": session, "fork": kind == "fork"}, {session}


def live(wire: Wire) -> set[str]:
    return set(wire.outside.model.sessions)


@pytest.mark.parametrize("kind", ["own", "session", "fork"])
@pytest.mark.parametrize("moment", MOMENTS)
async def test_a_client_that_vanishes_leaves_nothing_but_the_open_session(kind, moment):
    wire, client = Wire(MODEL), Client()
    request, left = begun(wire, kind)
    before = tasks()
    call = wire.generate(client, [3], **request)
    work = None
    if moment != "before it begins":
        await turn()
    if moment == "running":
        work = wire.outside.begin()
    if moment in ("while written to", "paused"):
        client.reads.clear()
    if moment in ("between tokens", "while written to"):
        for _ in range(3):
            wire.outside.tick()
            await turn()
    if moment == "paused":
        for _ in range(2):
            wire.outside.run_all()
            await turn()
    await vanish(call)
    if work is not None:
        wire.outside.finish(work)
    wire.outside.tick()
    await turn()
    assert live(wire) == left
    assert not wire.outside.model.generations
    assert tasks() == before
    assert wire.outside.audit() == []
    for session in left:
        wire.outside.step(session, wire.outside.steps(session), [1])


@pytest.mark.parametrize("kind", ["session", "fork"])
async def test_the_end_names_the_session_and_its_index(kind):
    wire, client = Wire(MODEL), Client()
    request, (session,) = begun(wire, kind)
    call = wire.generate(client, [3, 4], sampling={"max_tokens": 5}, **request)
    for _ in range(10):
        await turn()
        wire.outside.tick()
    await call
    end = client.read[-1].end
    assert (end.session_id == session) is (kind == "session")
    assert (end.cause, end.prompt_tokens, end.generated_tokens) == (end.MAX_TOKENS, 2, 5)
    assert end.index == 2 + 2 + 5 == wire.outside.steps(end.session_id)
    assert live(wire) == {session, end.session_id}
    wire.outside.step(end.session_id, end.index, [1])
    assert wire.outside.steps(session) == (10 if kind == "session" else 2)


async def test_a_fork_that_nobody_was_told_of_is_closed_even_when_it_is_done():
    wire, client = Wire(MODEL), Client()
    request, left = begun(wire, "fork")
    call = wire.generate(client, [3], sampling={"max_tokens": 1}, **request)
    client.reads.clear()
    for _ in range(3):
        await turn()
        wire.outside.tick()
    await vanish(call)
    assert live(wire) == left


@pytest.mark.parametrize("kind", ["own", "session", "fork"])
async def test_a_generation_that_does_not_begin_leaves_nothing(kind):
    wire, client = Wire(MODEL, backlog=BacklogLimits(max_steps=2)), Client()
    request, left = begun(wire, kind)
    with pytest.raises(Refusal) as error:
        await wire.generate(client, [3] * 3, **request)
    assert error.value.reason is Reason.OVERLOADED
    assert live(wire) == left
    assert client.read == []
    assert wire.outside.audit() == []


@pytest.mark.parametrize("kind", ["own", "fork"])
async def test_a_generation_that_finds_no_room_for_its_session_leaves_nothing(kind):
    limits = TableLimits(max_sessions=0 if kind == "own" else 1)
    wire = Wire(MODEL, table=limits)
    request, left = begun(wire, kind)
    with pytest.raises(Refusal) as error:
        await wire.generate(Client(), [3], **request)
    assert error.value.reason is Reason.TOO_MANY_SESSIONS
    assert live(wire) == left


async def test_a_client_that_does_not_read_holds_its_generation_back_and_no_other():
    wire, slow, quick = Wire(MODEL), Client(), Client()
    slow.reads.clear()
    sampling = v1.Sampling(max_tokens=3 * MAX_UNSENT_TOKENS)
    held = wire.generate(slow, [3], model=wire.name, sampling=sampling)
    other = wire.generate(quick, [4], model=wire.name, sampling=sampling)
    for _ in range(3 * MAX_UNSENT_TOKENS + 20):
        await turn()
        wire.outside.tick()
    await other
    assert sum(len(reply.tokens) for reply in quick.read) == 3 * MAX_UNSENT_TOKENS
    assert not held.done()
    assert not wire.outside.tick()
    slow.reads.set()
    while not held.done():
        await turn()
        wire.outside.tick()
    assert sum(len(reply.tokens) for reply in slow.read) == 3 * MAX_UNSENT_TOKENS
    assert live(wire) == set()


async def test_a_cut_generation_gets_what_is_ready_and_then_the_reason():
    wire, client = Wire(MODEL), Client()
    call = wire.generate(client, [3], model=wire.name)
    await turn()
    client.reads.clear()
    for _ in range(5):
        wire.outside.tick()
        await turn()
    wire.generations.cut(Refusal(Reason.DRAINING, "the server is stopping"))
    client.reads.set()
    with pytest.raises(Refusal) as error:
        await call
    assert error.value.reason is Reason.DRAINING
    assert sum(len(reply.tokens) for reply in client.read) == 5
    assert not any(reply.HasField("end") for reply in client.read)
    wire.outside.tick()
    assert live(wire) == set()


async def test_a_cut_generation_ends_though_its_model_makes_tokens_while_it_is_written_to():
    wire, client = Wire(MODEL), Client()
    client.meanwhile = wire.outside.tick
    call = wire.generate(client, [3], model=wire.name)
    await turn()
    wire.outside.tick()
    while len(client.read) < 3:
        await turn()
    wire.generations.cut(Refusal(Reason.DRAINING, "the server is stopping"))
    await turn()
    assert call.done()
    with pytest.raises(Refusal):
        await call
    wire.outside.tick()
    assert live(wire) == set()


async def test_what_was_made_is_still_sent_when_the_model_goes_away():
    wire, client = Wire(MODEL), Client()
    client.reads.clear()
    call = wire.generate(client, [3], model=wire.name)
    await turn()
    for _ in range(3):
        wire.outside.run_all()
        await turn()
    wire.outside.model.abandon(Refusal(Reason.DRAINING, "gone"))
    client.reads.set()
    with pytest.raises(Refusal):
        await call
    assert sum(len(reply.tokens) for reply in client.read) == 2 * MAX_UNSENT_TOKENS
