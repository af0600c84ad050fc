"""Spans without a collector: of which calls and chunks there are some, and what they say."""

import asyncio
import random
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, StatusCode

from plain_models import doubling_model, marked_model
from raw_session import step
from rnnserve.engine.batcher import BatchLimits
from rnnserve.errors import OperatorError
from rnnserve.ops.tracing import Spans, Tracing
from rnnserve.ops.tracing.call import MAX_EVENTS, NEVER
from rnnserve.ops.tracing.spans import gap
from rnnserve.v1 import rnnserve_pb2 as v1
from synchronous_engine import failing_on
from unit.service.calls import Client, turn
from unit.service.inference_calls import Calls, start
from unit.service.traced import (
    ABOVE,
    EPOCH_NS,
    LONG,
    MODEL,
    SAMPLED,
    SHORT,
    TRACE,
    UNSAMPLED,
    Traced,
)


def seconds(span: ReadableSpan) -> tuple[float, float]:
    """From when to when, on the engine's clock."""
    return (span.start_time - EPOCH_NS) / 1e9, (span.end_time - EPOCH_NS) / 1e9


async def test_queue_and_run_lie_in_their_step_and_the_step_in_its_call():
    traced = Traced()
    session = traced.engine.open()
    traced.engine.now_s = 1.0
    span = traced.call()
    traced.engine.now_s = 2.0
    call = traced.exchange(span, step(session, 0, [1]))
    await turn()
    traced.engine.now_s = 4.0
    work = traced.engine.begin()
    traced.engine.now_s = 7.0
    traced.engine.finish(work)
    await call
    traced.engine.now_s = 8.0
    span.end("OK")
    whole, chunk = traced.one(LONG.name), traced.one("step")
    queue, run = traced.one("queue"), traced.one("run")
    assert [seconds(s) for s in (whole, chunk, queue, run)] == [(1, 8), (2, 7), (2, 4), (4, 7)]
    assert chunk.parent.span_id == whole.context.span_id
    assert queue.parent.span_id == run.parent.span_id == chunk.context.span_id
    assert whole.kind is SpanKind.SERVER
    assert len({s.context.trace_id for s in (whole, chunk, queue, run)}) == 1


async def test_a_step_says_its_model_its_place_and_its_company():
    traced = Traced()
    span, sessions = traced.call(), [traced.engine.open() for _ in range(3)]
    await traced.answered(span, *(step(session, 0, [1, 2]) for session in sessions))
    assert [dict(found.attributes) for found in traced.all("step")] == [
        {
            "rnnserve.model": "gru1",
            "rnnserve.model.version": 1,
            "rnnserve.session": session[:6],
            "rnnserve.index": 0,
            "rnnserve.steps": 2,
            "rnnserve.batch.rows": 3,
        }
        for session in sessions
    ]


async def test_no_span_holds_the_id_that_entitles():
    traced = Traced(run=failing_on(3, MODEL.runner().run))
    span, session = traced.call(), traced.engine.open()
    await traced.answered(span, step(session, 0, [1]), step(session, 1, [3]), step(session, 9, [1]))
    span.generation(traced.engine.model, session)
    span.end("OK")
    told = [span.to_json() for span in traced.kept.get_finished_spans()]
    assert len(told) == 5
    assert not [text for text in told if session in text]


async def test_a_chunk_of_several_blocks_runs_from_its_first_block_to_its_last():
    traced = Traced(batches=BatchLimits(max_block_steps=2))
    span, session = traced.call(), traced.engine.open()
    call = traced.exchange(span, step(session, 0, [1, 2, 3, 4, 5]))
    await turn()
    for begins_s in (1.0, 2.0, 3.0):
        traced.engine.now_s = begins_s
        work = traced.engine.begin()
        traced.engine.now_s = begins_s + 0.5
        traced.engine.finish(work)
    await call
    assert seconds(traced.one("queue")) == (0, 1)
    assert seconds(traced.one("run")) == (1, 3.5)


async def test_the_first_chunk_and_a_share_of_the_others_have_spans():
    share, chunks = 0.25, 2000
    traced = Traced(share, iter(random.Random(7).random, None))
    span, session = traced.call(), traced.engine.open()
    for index in range(0, chunks, 20):
        await traced.answered(span, *(step(session, index + k, [1]) for k in range(20)))
    span.end("OK")
    found = [step.attributes["rnnserve.index"] for step in traced.all("step")]
    assert found[0] == 0
    assert abs(len(found) / chunks - share) < 0.05
    # Neither every fourth nor the first so many: one by one, without memory.
    gaps = Counter(b - a for a, b in pairwise(found))
    assert all(abs(gaps[k] / len(found) - share * (1 - share) ** (k - 1)) < 0.06 for k in (1, 2, 3))
    assert traced.one(LONG.name).attributes["rnnserve.chunks"] == chunks


@given(st.sampled_from([0.0, *(10.0**-n for n in range(300))]), st.integers(0, 2**53 - 1))
def test_the_next_chunk_with_spans_is_always_ahead(share, drawn):
    assert 0 <= gap(share, lambda: drawn / 2**53) <= NEVER


async def test_with_no_share_the_call_alone_has_a_span():
    traced = Traced(0.0)
    span, session = traced.call(), traced.engine.open()
    await traced.answered(span, step(session, 0, [1]))
    span.end("OK")
    assert [found.name for found in traced.kept.get_finished_spans()] == [LONG.name]


def test_a_call_goes_on_with_its_callers_trace():
    traced = Traced(0.0)
    for method in (LONG, SHORT):
        traced.call(method, SAMPLED).end("OK")
    for found in traced.kept.get_finished_spans():
        assert f"{found.context.trace_id:032x}" == TRACE
        assert f"{found.parent.span_id:016x}" == ABOVE


def test_a_call_of_an_unsampled_trace_has_no_span():
    traced = Traced()
    assert traced.call(LONG, UNSAMPLED) is None
    assert traced.call(SHORT, UNSAMPLED) is None


def test_of_short_calls_without_a_trace_a_share_begins_one():
    draws = iter([0.1, 0.29, 0.3, 0.9])
    traced = Traced(0.3, draws)
    assert [traced.call(SHORT) is None for _ in range(4)] == [False, False, True, True]
    assert traced.call(LONG) is not None


@pytest.mark.parametrize(
    "traceparents", [("nonsense",), ("",), (SAMPLED[:-1],), (UNSAMPLED, UNSAMPLED)]
)
def test_what_is_no_trace_begins_a_new_one(traceparents):
    traced = Traced()
    traced.call(LONG, *traceparents).end("OK")
    found = traced.one(LONG.name)
    assert found.parent is None
    assert f"{found.context.trace_id:032x}" != TRACE


@pytest.fixture(scope="module")
def spans() -> Spans:
    return Traced().spans


@given(
    metadata=st.lists(
        st.tuples(
            st.sampled_from(("traceparent", "tracestate", "other")),
            st.one_of(st.text(), st.from_regex(r"00-[0-9a-f]{32}-[0-9a-f]{16}-0[0-3]\Z")),
        )
    )
)
def test_only_a_trace_that_says_so_keeps_a_call_from_having_a_span(spans, metadata):
    span = spans.call(LONG, metadata)
    said = [value for key, value in metadata if key == "traceparent"]
    assert span is not None or (len(said) == 1 and said[0][-1] in "02")


async def test_a_step_that_fails_says_why():
    traced = Traced(run=failing_on(3, MODEL.runner().run))
    span, session = traced.call(), traced.engine.open()
    await traced.answered(span, step(session, 0, [3]))
    span.end("OK")
    found = traced.one("step")
    assert found.attributes["error.type"] == "model_failed"
    assert found.status.status_code is StatusCode.ERROR
    (event,) = traced.one(LONG.name).events
    assert dict(event.attributes) == {"error.type": "model_failed"}
    assert traced.all("run") == []


async def test_what_is_refused_at_once_is_an_event_of_its_call():
    traced = Traced()
    span, session = traced.call(), traced.engine.open()
    await traced.answered(span, *(step(session, 5, [1]) for _ in range(MAX_EVENTS + 3)))
    span.end("OK")
    assert traced.all("step") == []
    found = traced.one(LONG.name)
    assert [event.attributes["error.type"] for event in found.events] == ["index_gap"] * MAX_EVENTS
    assert found.attributes["rnnserve.errors"] == MAX_EVENTS + 3
    assert found.status.status_code is StatusCode.UNSET


async def test_a_step_that_came_again_waited_and_ran_before():
    traced = Traced()
    span, session = traced.call(), traced.engine.open()
    await traced.answered(span, step(session, 0, [1]))
    traced.engine.now_s = 5.0
    await traced.answered(span, step(session, 0, [1]))
    first, again = traced.all("step")
    assert again.attributes["rnnserve.resent"]
    assert "rnnserve.resent" not in first.attributes
    assert seconds(again) == (5, 5)
    assert len(traced.all("run")) == 1


async def test_a_step_answered_after_its_call_has_its_span_and_no_warning(caplog):
    traced = Traced(run=failing_on(3, MODEL.runner().run))
    span, session = traced.call(), traced.engine.open()
    call = traced.exchange(span, step(session, 0, [3]))
    await turn()
    span.end("CANCELLED")
    traced.engine.run_all()
    await call
    assert traced.one("step").parent.span_id == traced.one(LONG.name).context.span_id
    assert [record for record in caplog.records if "opentelemetry" in record.name] == []


async def test_a_generations_span_says_its_tokens_and_when_the_first_came():
    traced = Traced()
    span = traced.call()
    request = v1.GenerateRequest(model="gru1", tokens=v1.TokenIds(ids=[1, 2]))
    request.sampling.max_tokens = 4
    call = asyncio.create_task(traced.wire.generations.serve(request, Client(), span))
    await turn()
    traced.engine.now_s = 3.0
    traced.engine.run_all()
    await call
    span.end("OK")
    found = traced.one(LONG.name)
    assert found.attributes["rnnserve.tokens"] == 4
    assert found.attributes["rnnserve.model"] == "gru1"
    (event,) = found.events
    assert (event.name, event.timestamp) == ("first token", EPOCH_NS + 3 * 10**9)


def test_requests_of_triton_are_steps_too_with_a_sequence_and_without():
    traced = Traced()
    span = traced.call(SHORT, SAMPLED)
    one = np.ones((1, 1), np.float32)
    for model in (marked_model(), doubling_model()):
        calls = Calls(model)
        calls.requests.take(start(calls.spec.name, {"x": one}), lambda _: None, span=span)
        calls.engine.run_all()
    assert [found.attributes["rnnserve.model"] for found in traced.all("step")] == [
        "marked",
        "double",
    ]
    assert len(traced.all("queue")) == len(traced.all("run")) == 2


@pytest.mark.parametrize("endpoint", ["", "localhost:4317", "grpc://localhost:4317"])
def test_an_endpoint_that_is_none_is_the_operators_error(endpoint):
    with pytest.raises(OperatorError, match="--trace-endpoint"):
        Tracing(endpoint, 1.0)


def test_a_variable_of_the_sdks_that_does_not_do_is_the_operators_error(monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "soon")
    with pytest.raises(OperatorError, match="OTEL_"):
        Tracing("http://127.0.0.1:1", 1.0)
