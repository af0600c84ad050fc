"""Streams without a network: what is sent together, what a vanished client leaves, and cuts."""

import asyncio
import gc
import math
import weakref
from dataclasses import replace

import numpy as np
import pytest

from raw_session import numbered, refusal, step
from rnnserve.engine.backlog import BacklogLimits
from rnnserve.engine.model import MOST_WAITING_FOR_ONE
from rnnserve.engine.session import SessionLimits
from rnnserve.errors import Reason, Refusal
from rnnserve.repository.spec import CarrySpec, ModelSpec, TensorSpec
from rnnserve.v1 import rnnserve_pb2 as v1
from rnnserve.wire.exchange_answers import MAX_EXCHANGE_BYTES, ExchangeAnswers
from rnnserve.wire.operations import AT_A_STRETCH, LOOK_EVERY, MAX_FRAME_OPERATIONS
from rnnserve.wire.stream_answers import MAX_EVENTS_BYTES
from small_models import small_model
from unit.service.calls import Client, Frames, Wire, tasks, turn, vanish
from unit.service.http_calls import until

MODEL = small_model("gru", 1)


async def events_of(wire: Wire, *operations: v1.Operation) -> list[v1.Event]:
    """One frame by the unary twin, run to its end."""
    frame = v1.OperationFrame(operations=operations)
    call = asyncio.create_task(wire.streams.exchange(frame, Client()))
    await turn()
    wire.outside.run_all()
    return list((await call).events)


async def test_answers_that_are_ready_together_are_split_into_messages():
    wire, frames, client = Wire(MODEL), Frames(), Client()
    call = asyncio.create_task(wire.streams.serve(frames, client))
    client.reads.clear()
    sessions = [wire.outside.open() for _ in range(12)]
    frames.send(*(step(session, 0, [1] * 2048) for session in sessions))
    await turn()
    wire.outside.run_all()
    client.reads.set()
    frames.finish()
    await call
    answer_bytes = 2048 * MODEL.spec.reply_bytes
    assert sum(len(frame.events) for frame in client.read) == len(sessions)
    assert len(client.read) > 1
    for frame in client.read:
        assert frame.ByteSize() <= MAX_EVENTS_BYTES + answer_bytes + 1024


async def test_a_client_that_vanishes_leaves_no_task_and_its_steps_happen():
    wire, frames, client = Wire(MODEL), Frames(), Client()
    session = wire.outside.open()
    before = tasks()
    call = asyncio.create_task(wire.streams.serve(frames, client))
    frames.send(step(session, 0, [1, 2, 3]))
    await turn()
    await vanish(call)
    assert tasks() == before
    assert not frames.open
    wire.outside.run_all()
    assert client.read == []
    (again,) = await events_of(wire, step(session, 0, [1, 2, 3]))
    assert again.stepped.index == 0
    assert wire.outside.notes.resends == 1
    assert wire.outside.audit() == []


async def test_a_client_that_vanishes_while_it_is_written_to_leaves_no_task():
    wire, frames, client = Wire(MODEL), Frames(), Client()
    before = tasks()
    call = asyncio.create_task(wire.streams.serve(frames, client))
    client.reads.clear()
    frames.send(v1.Operation(id=1))
    await turn()
    await vanish(call)
    assert tasks() == before
    assert not frames.open


async def test_a_cut_stream_gets_what_is_ready_and_then_the_reason():
    wire, frames, client = Wire(MODEL), Frames(), Client()
    call = asyncio.create_task(wire.streams.serve(frames, client))
    client.reads.clear()
    frames.send(v1.Operation(id=1))
    await turn()
    frames.send(v1.Operation(id=2))
    await turn()
    wire.streams.cut(Refusal(Reason.DRAINING, "the server is stopping"))
    client.reads.set()
    with pytest.raises(Refusal) as error:
        await call
    assert error.value.reason is Reason.DRAINING
    assert [event.id for frame in client.read for event in frame.events] == [1, 2]
    assert not frames.open


async def test_a_calls_deadline_is_its_steps_timeout():
    wire = Wire(MODEL)
    session, busy = wire.outside.open(), wire.outside.open()
    wire.outside.submit(busy, 0, [1] * 100)
    frame = v1.OperationFrame(operations=[step(session, 0, [1])])
    (event,) = (await wire.streams.exchange(frame, Client(left_s=1e-9))).events
    assert refusal(event)[:2] == ("RESOURCE_EXHAUSTED", "too_late")
    assert event.error.details[1].type_url.endswith("google.rpc.RetryInfo")


@pytest.mark.parametrize("timeout_us", [0, 1, 10])
async def test_the_shorter_of_a_steps_and_its_calls_timeout_holds(timeout_us):
    wire = Wire(MODEL)
    session = wire.outside.open()
    wire.outside.submit(wire.outside.open(), 0, [1] * 100)
    answers = ExchangeAnswers(1)
    operation = step(session, 0, [1], timeout_us=timeout_us)
    wire.operations.apply([operation], answers, wire.outside.engine.now_s(), math.inf)
    refused = answers.frame.events[0].HasField("error")
    assert refused is (timeout_us > 0)
    wire.outside.run_all()


async def test_a_pipelined_frame_is_answered_in_order_with_the_right_indices():
    wire = Wire(MODEL)
    session = wire.outside.open()
    found = await events_of(
        wire,
        step(session, 0, [1, 2]),
        step(session, 2, [3]),
        v1.Operation(fork=v1.Fork(session_id=session, count=2, index=3)),
        step(session, 3, [4]),
        v1.Operation(export=v1.Export(session_id=session)),
        v1.Operation(reset=v1.Reset(session_id=session, index=4)),
        step(session, 4, [5]),
        v1.Operation(close=v1.Close(session_id=session)),
    )
    kinds = ["stepped", "stepped", "forked", "stepped", "exported", "was_reset"]
    kinds += ["stepped", "closed"]
    assert [event.WhichOneof("kind") for event in found] == kinds
    indices = [getattr(event, kind).index for event, kind in zip(found[:-1], kinds, strict=False)]
    assert indices == [0, 2, 3, 3, 4, 4, 4]
    assert found[-1].closed.steps == 5
    assert len(found[2].forked.session_ids) == 2


# ---- a model that takes truth values -----------------------------------------

FLAGS = ModelSpec(
    name="flags",
    version=1,
    max_batch=8,
    inputs=(TensorSpec("flags", np.dtype(np.bool_), (3,)),),
    outputs=(TensorSpec("count", np.dtype("<f4"), (1,)),),
    carry=(CarrySpec("seen", "seen_next", np.dtype(np.bool_), (3,)),),
)


def count_flags(carry, inputs):
    """How many flags were set at least once."""
    (seen,), (flags,) = carry, inputs  # (B, 3), (B, T, 3)
    assert flags.view(np.uint8).max(initial=0) <= 1, "the model was given what is no truth value"
    over = np.logical_or.accumulate(np.concatenate([seen[:, np.newaxis], flags], 1), 1)[:, 1:]
    return (over[:, -1],), (over.sum(-1, keepdims=True).astype(np.float32),)


def flags_wire() -> Wire:
    return Wire(replace(MODEL, spec=FLAGS), run=count_flags)


@pytest.mark.parametrize("wrong", [2, 3, 0x80, 0xFF])
async def test_a_byte_that_is_no_truth_value_is_refused(wrong):
    wire = flags_wire()
    session = wire.outside.open()
    good, bad, onward = await events_of(
        wire,
        step(session, 0, b"\0\1\0"),
        step(session, 1, bytes([0, 1, 0, 1, wrong, 0])),
        step(session, 1, b"\1\0\0\0\0\1"),
    )
    assert refusal(bad) == (
        "INVALID_ARGUMENT",
        "value_out_of_range",
        {"input": "flags", "low": "0", "high": "2"},
    )
    assert np.frombuffer(good.stepped.outputs[0], np.float32).tolist() == [1]
    assert np.frombuffer(onward.stepped.outputs[0], np.float32).tolist() == [2, 3]


@pytest.mark.parametrize("raw", [b"\2\0\0", b"\0\0", b"\0" * 4])
async def test_a_carry_that_is_no_truth_value_or_of_another_size_is_refused(raw):
    wire = flags_wire()
    carry = v1.InitialCarry(given=v1.GivenCarry(tensors=[raw]))
    session = wire.outside.open()
    found = await events_of(
        wire,
        v1.Operation(open=v1.Open(model="flags", carry=carry)),
        v1.Operation(reset=v1.Reset(session_id=session, carry=carry)),
    )
    assert [refusal(event)[:2] for event in found] == [("INVALID_ARGUMENT", "bad_carry")] * 2
    assert wire.outside.audit() == []


async def test_resends_are_refused_while_their_answers_are_not_read():
    wire = Wire(MODEL)
    session = wire.outside.open()
    sent = step(session, 0, [1] * 4096)
    await events_of(wire, sent)
    answer_bytes = 4096 * MODEL.spec.reply_bytes
    events = await events_of(wire, *[sent] * 1024)
    answered = [event for event in events if event.HasField("stepped")]
    refused = {refusal(event)[1] for event in events if not event.HasField("stepped")}
    assert refused == {"overloaded"}
    assert len(answered) * answer_bytes <= MAX_EXCHANGE_BYTES + LOOK_EVERY * answer_bytes


async def test_a_step_without_room_takes_none_from_those_behind_it_that_have():
    wire = Wire(MODEL, backlog=BacklogLimits(max_steps=4))
    large, small, other = (wire.outside.open() for _ in range(3))
    events = await events_of(
        wire, step(large, 0, [1] * 5), step(small, 0, [1]), step(other, 0, [1, 2, 3])
    )
    assert [event.WhichOneof("kind") for event in events] == ["error", "stepped", "stepped"]
    assert refusal(events[0])[1] == "overloaded"


async def test_in_a_full_house_everyone_is_told_what_he_is_told_alone():
    wire = Wire(MODEL, backlog=BacklogLimits(max_steps=4))
    answered, waiting, late, later = (wire.outside.open() for _ in range(4))
    await events_of(wire, step(answered, 0, [1]))
    events = await events_of(
        wire,
        step(waiting, 0, [1, 2, 3, 4]),
        step(late, 0, [1]),
        step(later, 0, [1]),
        step(later, 0, []),
        step(later, 0, [10_000]),
        step(later, 0, [1] * (SessionLimits().max_chunk_steps + 1)),
        step(later, 1, [1]),
        step(answered, 0, [1]),
        step(waiting, 0, [1, 2, 3, 4]),
        v1.Operation(close=v1.Close(session_id=late)),
    )
    told = [
        refusal(event)[1] if event.HasField("error") else event.WhichOneof("kind")
        for event in events
    ]
    assert told == [
        "stepped",
        "overloaded",
        "overloaded",
        "empty_chunk",
        "value_out_of_range",
        "chunk_too_long",
        "index_gap",
        "stepped",
        "stepped",
        "closed",
    ]
    assert wire.outside.notes.resends == 2
    (again,) = await events_of(wire, step(later, 0, [1]))
    assert again.HasField("stepped")
    assert wire.outside.audit() == []


@pytest.mark.parametrize("steps", [[1], [1, 2, 3]])
async def test_a_refusal_keeps_nothing_of_its_call_alive(steps):
    wire = Wire(MODEL, backlog=BacklogLimits(max_steps=1))
    wire.outside.submit(wire.outside.open(), 0, [1])
    operations = [step(wire.outside.open(), 0, steps) for _ in range(3)]
    answers = ExchangeAnswers(len(operations))
    gc.collect()
    gc.disable()
    try:
        wire.operations.apply(operations, answers, 0.0)
        assert all(event.HasField("error") for event in answers.frame.events)
        left = weakref.ref(answers)
        del answers
        assert left() is None
    finally:
        gc.enable()
    wire.outside.run_all()


async def test_all_steps_of_a_long_frame_came_when_it_came():
    wire = Wire(MODEL)
    sessions = [wire.outside.open() for _ in range(2 * AT_A_STRETCH)]
    frame = v1.OperationFrame(operations=[step(session, 0, [1]) for session in sessions])
    call = asyncio.create_task(wire.streams.exchange(frame, Client(left_s=1.0)))
    await until(lambda: wire.outside.model.waiting_steps)
    wire.outside.now_s += 0.5  # others have their turn, and take it
    await turn()
    pending = [wire.outside.model.sessions[session].pending[0] for session in sessions]
    assert {(chunk.submitted_s, chunk.deadline_s) for chunk in pending} == {(0.0, 1.0)}
    wire.outside.run_all()
    await call


async def test_others_have_their_turn_within_a_long_frame():
    wire, frames, client = Wire(MODEL), Frames(), Client()
    call = asyncio.create_task(wire.streams.serve(frames, client))
    opening = v1.Operation(open=v1.Open(model=wire.name))
    frames.send(*[opening] * MAX_FRAME_OPERATIONS)
    seen = set()
    while len(wire.outside.model.sessions) < MAX_FRAME_OPERATIONS:
        await asyncio.sleep(0)
        seen.add(len(wire.outside.model.sessions))
    assert {AT_A_STRETCH, MAX_FRAME_OPERATIONS - AT_A_STRETCH} <= seen
    frames.finish()
    await call
    told = [event.opened.session_id for frame in client.read for event in frame.events]
    assert len(set(told)) == MAX_FRAME_OPERATIONS
    assert set(told) == set(wire.outside.model.sessions)


async def test_of_a_long_frame_whose_client_vanishes_the_rest_is_not_taken_in():
    wire, frames, client = Wire(MODEL), Frames(), Client()
    call = asyncio.create_task(wire.streams.serve(frames, client))
    frames.send(*[v1.Operation(open=v1.Open(model=wire.name))] * MAX_FRAME_OPERATIONS)
    await until(lambda: wire.outside.model.sessions)
    await vanish(call)
    await turn()
    assert len(wire.outside.model.sessions) < MAX_FRAME_OPERATIONS
    assert wire.outside.audit() == []


async def test_the_unary_twin_answers_a_long_frame_in_order():
    wire = Wire(MODEL)
    session = wire.outside.open()
    operations = [
        numbered(step(session, index, [1]), index + 1) for index in range(3 * AT_A_STRETCH)
    ]
    events = await events_of(wire, *operations)
    pending = SessionLimits().max_pending_chunks
    assert [event.id for event in events] == [operation.id for operation in operations]
    assert [event.HasField("stepped") for event in events] == [True] * pending + [False] * (
        len(operations) - pending
    )


async def test_only_so_many_wait_for_the_answer_to_one_step():
    wire = Wire(MODEL)
    session = wire.outside.open()
    sent = step(session, 0, [1])
    events = await events_of(wire, *[sent] * 100)
    reasons = [refusal(event)[1] for event in events if not event.HasField("stepped")]
    assert reasons == ["too_many_pending"] * (100 - 1 - MOST_WAITING_FOR_ONE)


async def test_an_answered_step_keeps_nobody_who_waited_for_it():
    wire = Wire(MODEL)
    session = wire.outside.open()
    events = await events_of(
        wire, step(session, 0, [1]), v1.Operation(export=v1.Export(session_id=session))
    )
    assert [event.WhichOneof("kind") for event in events] == ["stepped", "exported"]
    (kept,) = wire.outside.model.sessions[session]._kept
    assert kept.listener is None
    assert not kept.others
