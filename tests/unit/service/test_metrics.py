"""What is counted is what happened, and there are never too many series."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import generate_latest

from plain_models import memory_model
from rnnserve.engine.meter import Cause
from rnnserve.engine.occupancy import occupancy
from rnnserve.engine.table import TableLimits
from rnnserve.errors import Reason, Refusal
from rnnserve.ops.metrics import Metrics
from rnnserve.ops.register import UNLOADED
from rnnserve.v1 import rnnserve_pb2 as v1
from rnnserve.wire.inference.repository import Indexed, State
from rnnserve.wire.reader import Timed
from rnnserve.wire.replies import Replies
from small_models import small_model
from synchronous_engine import SynchronousEngine
from unit.service.calls import Client, Frames, Wire, turn

MODEL = "gru1"


def series(metrics: Metrics) -> dict[tuple[str, ...], float]:
    """Every sample, by its name and the values of its labels."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
    }


def metered(metrics: Metrics, sessions: int = 1024) -> SynchronousEngine:
    """An engine that is counted."""
    outside = SynchronousEngine(small_model("gru", 1), table=TableLimits(max_sessions=sessions))
    metrics.expect(MODEL, generates=True)
    for metered in (outside.model, outside.engine):
        metered.meter = metrics
    outside.engine.table._meter = metrics
    return outside


# How many series.


def test_ten_thousand_sessions_of_three_models_and_every_reason_are_at_most_500_series():
    metrics = Metrics()
    outside = metered(metrics, sessions=10_000)
    names = (MODEL, "second", "third")
    for name in names:
        metrics.expect(name, generates=True)
    for reason in Reason:
        metrics.refused(reason)
    ids = [outside.open() for _ in range(10_000)]
    for session_id in ids[:100]:
        outside.step(session_id, 0, [1])
    for cause, session_id in zip(Cause, ids, strict=False):
        outside.engine.table.end(session_id, cause)
    versions = [Indexed(name, 1, State.READY, "") for name in names]
    metrics.look(occupancy(outside.engine), streams=64, versions=versions)
    found = series(metrics)
    assert found["rnnserve_sessions", MODEL] == 10_000 - len(Cause)
    assert len(found) <= 500
    labels = {label for _, *rest in found for label in rest}
    assert not labels & set(ids)


# Versions.


def test_a_version_that_was_unloaded_as_was_wished_is_not_unavailable():
    metrics = Metrics()
    outside = metered(metrics)
    versions = [
        Indexed(MODEL, 1, State.UNAVAILABLE, UNLOADED),
        Indexed(MODEL, 2, State.UNAVAILABLE, "not a graph"),
    ]
    metrics.look(occupancy(outside.engine), streams=0, versions=versions)
    assert series(metrics)["rnnserve_model_versions", MODEL, "unavailable"] == 1
    metrics.look(occupancy(outside.engine), streams=0, versions=versions[:1])
    assert series(metrics)["rnnserve_model_versions", MODEL, "unavailable"] == 0


def test_a_version_that_could_not_be_loaded_again_is_served_and_stale():
    metrics = Metrics()
    outside = metered(metrics)
    versions = [
        Indexed(MODEL, 1, State.READY, "served as it was; loading it again failed: not a graph"),
        Indexed(MODEL, 2, State.READY, ""),
        Indexed(MODEL, 3, State.LOADING, "not a graph"),
    ]
    metrics.look(occupancy(outside.engine), streams=0, versions=versions)
    found = series(metrics)
    states = {
        state: found["rnnserve_model_versions", MODEL, state]
        for state in ("ready", "stale", "retiring", "unavailable")
    }
    assert states == {"ready": 2, "stale": 1, "retiring": 0, "unavailable": 0}


def test_a_single_family_can_be_asked_for_as_long_as_its_model_is_there():
    metrics = Metrics()
    metrics.expect(MODEL, generates=True)
    for name in ("rnnserve_sessions", "rnnserve_steps_total", "rnnserve_step_seconds_count"):
        assert MODEL in generate_latest(metrics.registry.restricted_registry([name])).decode()
    metrics.forget(MODEL)
    metrics.opened(MODEL)  # by who began before it went
    assert not [labels for labels in series(metrics) if MODEL in labels]


# Replies.


@settings(deadline=None)
@given(st.lists(st.integers(1, 5), min_size=1, max_size=8), st.data())
def test_every_answer_is_replied_to_once_with_its_own_wait(batches, data):
    told: list[tuple[str, int, float]] = []
    now_s = 0.0
    replies = Replies(lambda *reply: told.append(reply), lambda: now_s)
    waiting = []
    expected: list[tuple[str, int, float]] = []
    for answers in batches:
        now_s += 1.0
        model = data.draw(st.sampled_from("ab"))
        replies.turn(model, now_s)
        replies.answers += answers
        waiting.append((model, answers, now_s))
        if data.draw(st.booleans()):
            taken = replies.take()
            now_s += data.draw(st.floats(0.0, 5.0, allow_subnormal=False))
            replies.sent(taken)
            expected += [(model, answers, now_s - ready_s) for model, answers, ready_s in waiting]
            waiting = []
    assert told == expected


@settings(deadline=None)
@given(frames=st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=6), max_size=6))
def test_each_answered_chunk_is_one_reply_and_one_sent_again_is_none(frames):
    """Each frame steps some sessions, one of them perhaps for a second time."""

    async def scenario() -> tuple[int, int]:
        wire = Wire(small_model("gru", 1))
        metrics = Metrics()
        metrics.expect(MODEL, generates=True)
        outside = wire.outside
        outside.engine.meter = metrics
        ids = [outside.open() for _ in range(4)]
        sent, client = Frames(), Client()
        serving = asyncio.create_task(wire.streams.serve(aiter(sent), client))
        stepped = [0] * 4
        for frame in frames:
            operations = []
            for number in frame:
                index = stepped[number]
                operations.append(
                    v1.Step(session_id=ids[number], index=index, inputs=[bytes([1] + [0] * 7)])
                )
                stepped[number] = index + 1
            again = operations[0]
            sent.send(*(v1.Operation(step=step) for step in operations))
            await turn()
            outside.run_all()
            await turn()
            sent.send(v1.Operation(step=again))
            await turn()
        sent.finish()
        await serving
        return sum(stepped), round(series(metrics)["rnnserve_reply_seconds_count", MODEL])

    steps, replies = asyncio.run(scenario())
    assert replies == steps


async def test_answers_of_the_unary_twin_are_replies_too():
    wire, metrics = Wire(small_model("gru", 1)), Metrics()
    metrics.expect(MODEL, generates=True)
    wire.outside.engine.meter = metrics
    steps = [
        v1.Operation(step=v1.Step(session_id=wire.outside.open(), inputs=[bytes(8)]))
        for _ in range(3)
    ]
    unknown = v1.Operation(step=v1.Step(session_id="nobody's", inputs=[bytes(8)]))
    frame = v1.OperationFrame(operations=[*steps, unknown])
    exchanging = asyncio.create_task(wire.streams.exchange(frame, Client()))
    await turn()
    wire.outside.run_all()
    assert len((await exchanging).events) == 4
    assert series(metrics)["rnnserve_reply_seconds_count", MODEL] == 3


# Tokens.


@settings(deadline=None)
@given(st.lists(st.integers(0, 5), max_size=12), st.data())
def test_of_n_tokens_there_are_one_first_and_n_minus_1_intervals_that_fill_the_time(sizes, data):
    async def scenario() -> None:
        now_s = 5.0
        metrics = Metrics()
        metrics.expect("m", generates=True)
        timed = Timed(Client(), "m", 2.0, metrics, lambda: now_s)
        first_s = last_s = None
        for size in sizes:
            now_s += data.draw(st.integers(0, 3))
            await timed.write(v1.GenerateReply(tokens=[1] * size))
            if size:
                first_s, last_s = (now_s if first_s is None else first_s), now_s
        found = series(metrics)
        tokens = sum(sizes)
        assert found["rnnserve_first_token_seconds_count", "m"] == min(1, tokens)
        assert found["rnnserve_token_interval_seconds_count", "m"] == max(0, tokens - 1)
        if first_s is not None:
            assert found["rnnserve_first_token_seconds_sum", "m"] == first_s - 2.0
            between_s = found["rnnserve_token_interval_seconds_sum", "m"]
            assert between_s == pytest.approx(last_s - first_s)

    asyncio.run(scenario())


# What is carried.


@settings(deadline=None)
@given(st.lists(st.sampled_from(["open", "close", "fork", "step"]), max_size=30), st.booleans())
def test_what_is_carried_is_the_sum_of_what_each_session_carries(acts, grows):
    model = memory_model() if grows else small_model("gru", 1)
    outside = SynchronousEngine(model)
    live: list[str] = []
    for act in acts:
        if act == "open" or not live:
            live.append(outside.open())
        elif act == "close":
            outside.close(live.pop(0))
        elif act == "fork":
            ((ids, _),) = outside.fork(live[0])
            live += ids
        elif grows:
            entry = outside.engine.session(live[-1])
            entry.model.submit(
                entry.session,
                entry.session.steps,
                (bytes(12),),
                lambda _: None,
                0.0,
                shapes=((3,),),
            )
            outside.run_all()
        else:
            outside.step(live[-1], outside.steps(live[-1]), [1, 2])
    slots = outside.model.slots
    carried = sum(slots.size_bytes(session.lease) for session in outside.model.sessions.values())
    assert occupancy(outside.engine).carry_bytes == {outside.model.spec.name: carried}
    assert outside.engine.table.carry_bytes == carried


# How sessions end.


def test_a_sessions_end_is_told_once_with_its_counts():
    ends = []
    metrics = Metrics(ends.append)
    outside = metered(metrics)
    session_id = outside.open()
    outside.step(session_id, 0, [1, 2, 3])
    outside.step(session_id, 3, [4])
    outside.step(session_id, 3, [4])
    outside.now_s = 7.0
    outside.close(session_id)
    (end,) = ends
    assert (end.model, end.version, end.cause) == (MODEL, 1, Cause.CLOSED)
    assert (end.steps, end.chunks, end.resends, end.failures) == (4, 2, 1, 0)
    assert end.lived_s == 7.0
    assert end.carry_bytes == outside.model.spec.carry_bytes
    # The whole id entitles to the session, and the log is read by many.
    assert session_id.startswith(end.session)
    assert len(end.session) < len(session_id) / 2
    found = series(metrics)
    assert found["rnnserve_sessions_ended_total", MODEL, "closed"] == 1
    assert found["rnnserve_sessions_ended_total", MODEL, "failed"] == 0


async def test_a_generations_own_session_has_failed_where_its_model_did():
    def broken(carry, inputs):
        raise RuntimeError("no")

    ends = []
    wire = Wire(small_model("gru", 1), run=broken)
    metrics = Metrics(ends.append)
    metrics.expect(MODEL, generates=True)
    wire.outside.model.meter = wire.outside.engine.meter = metrics
    wire.outside.engine.table._meter = metrics
    generating = wire.generate(Client(), [1], model=MODEL)
    await turn()
    wire.outside.run_all()
    with pytest.raises(Exception, match="model failed"):
        await generating
    assert [end.cause for end in ends] == [Cause.FAILED]


def test_a_session_under_way_has_failed_where_its_model_is_gone():
    ends = []
    outside = metered(Metrics(ends.append))
    idle, busy = outside.open(), outside.open()
    outcomes = outside.submit(busy, 0, [1])
    outside.engine.table.end_all(Cause.FAILED)
    assert [end.session for end in ends] == [idle[:6]]
    outside.model.abandon(Refusal(Reason.INTERNAL, "the ticker is gone"))
    outside.engine.table.end_all(Cause.FAILED)
    assert [(end.session, end.cause) for end in ends[1:]] == [(busy[:6], Cause.FAILED)]
    assert len(outcomes) == 1
    assert len(outside.engine.table) == 0
