"""Spans of calls that come over HTTP, and how long their replies took."""

import asyncio
import json
from itertools import count

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from rnnserve.errors import Reason
from rnnserve.ops.tracing import Spans
from rnnserve.wire.http import routes
from rnnserve.wire.http.inference import write_json
from small_models import small_model
from unit.service.http_calls import serving, until

MODEL = small_model("gru", 1)
TRACE, ABOVE = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
HEADERS = {"Traceparent": f"00-{TRACE}-{ABOVE}-01"}
STEP = {
    "inputs": [{"name": "tokens", "shape": [1, 2], "datatype": "INT64", "data": [1, 2]}],
    "parameters": {"sequence_id": 7, "sequence_start": True},
}
INFER = "POST /v2/models/{name}/infer"
STREAM = "POST /v2/models/{name}/generate_stream"


class Kept:
    """A tracer whose spans are kept."""

    def __init__(self, share: float = 1.0) -> None:
        self.spans = InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self.spans))
        self.tracer = Spans(provider.get_tracer("test"), share)

    def all(self) -> list[ReadableSpan]:
        return list(self.spans.get_finished_spans())

    def one(self, name: str) -> ReadableSpan:
        (found,) = [span for span in self.all() if span.name == name]
        return found


async def test_a_request_and_its_step_belong_to_the_callers_trace():
    kept = Kept()
    async with serving(MODEL, tracer=kept.tracer) as world:
        assert (await world.infer(STEP, HEADERS)).status == 200
    call, step = kept.one(INFER), kept.one("step")
    assert f"{call.context.trace_id:032x}" == TRACE
    assert f"{call.parent.span_id:016x}" == ABOVE
    assert call.kind is SpanKind.SERVER
    assert dict(call.attributes) == {
        "http.request.method": "POST",
        "http.route": "/v2/models/{name}/infer",
        "url.path": "/v2/models/gru1/infer",
        "url.scheme": "http",
        "http.response.status_code": 200,
        "rnnserve.chunks": 1,
    }
    assert step.parent.span_id == call.context.span_id
    assert step.attributes["rnnserve.steps"] == 2
    assert {kept.one(part).parent.span_id for part in ("queue", "run")} == {step.context.span_id}


@pytest.mark.parametrize(
    ("path", "body", "status", "reason"),
    [
        ("/v2/models/nobody/infer", STEP, 404, Reason.UNKNOWN_MODEL),
        ("/v2/models/gru1/infer", {"inputs": 3}, 400, Reason.MALFORMED),
        ("/v2/models/nobody/generate", {"text_input": "a"}, 404, Reason.UNKNOWN_MODEL),
    ],
)
async def test_a_refusal_is_the_callers_and_says_its_word(path, body, status, reason):
    kept = Kept()
    async with serving(MODEL, tracer=kept.tracer) as world:
        reply = await world.post(path, body, HEADERS)
    (call,) = kept.all()
    assert reply.status == call.attributes["http.response.status_code"] == status
    assert call.attributes["error.type"] == reason
    assert call.status.status_code is StatusCode.UNSET


async def test_a_bug_is_the_servers():
    kept = Kept()
    async with serving(MODEL, tracer=kept.tracer) as world:
        world.inference.requests.take = None
        assert (await world.infer(STEP, HEADERS)).status == 500
    (call,) = kept.all()
    assert call.attributes["http.response.status_code"] == 500
    assert call.attributes["error.type"] == Reason.INTERNAL
    assert call.status.status_code is StatusCode.ERROR


async def test_a_generation_says_its_tokens_and_when_the_first_came():
    kept = Kept(share=0.0)
    body = {"text_input": "abc", "parameters": {"max_tokens": 4, "temperature": 0.0}}
    async with serving(MODEL, tracer=kept.tracer) as world:
        assert (await world.post("/v2/models/gru1/generate_stream", body)).status == 200
    call = kept.one(STREAM)
    assert call.attributes["rnnserve.tokens"] == 4
    assert call.attributes["rnnserve.model"] == "gru1"
    assert [event.name for event in call.events] == ["first token"]


async def test_what_runs_no_model_and_what_nobody_offers_has_no_span():
    kept = Kept()
    async with serving(MODEL, tracer=kept.tracer) as world:
        for path in ("/v2", "/v2/models/gru1", "/v2/health/ready", "/nothing", "/v2/infer"):
            await world.ask("GET", path, headers=HEADERS)
        await world.ask("GET", "/v2/models/gru1/infer", headers=HEADERS)
        unsampled = {"traceparent": f"00-{TRACE}-{ABOVE}-00"}
        assert (await world.infer(STEP, unsampled)).status == 200
    assert kept.all() == []


async def test_a_client_that_leaves_ends_its_span_without_a_status():
    kept = Kept()
    body = json.dumps(STEP).encode()
    head = f"POST /v2/models/gru1/infer HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    async with serving(MODEL, running=False, tracer=kept.tracer) as world:
        async with world.raw(head.encode() + body):
            await until(lambda: world.outside.model.has_work)
        await until(kept.all)
        world.outside.run_all()
    call = kept.one(INFER)
    assert "http.response.status_code" not in call.attributes
    assert call.status.status_code is StatusCode.UNSET


async def test_a_generation_that_fails_after_its_first_event_is_the_servers():
    kept = Kept()
    body = {"text_input": "abc", "parameters": {"max_tokens": 40, "temperature": 0.0}}
    runs, run = count(), MODEL.runner().run

    def wearing_out(*rows):
        if next(runs) > 20:
            raise RuntimeError("worn out")
        return run(*rows)

    async with serving(MODEL, run=wearing_out, tracer=kept.tracer) as world:
        reply = await world.post("/v2/models/gru1/generate_stream", body)
    assert reply.status == 200
    assert b"model_failed" in reply.body
    span = kept.one(STREAM)
    assert span.attributes["http.response.status_code"] == 200
    assert span.attributes["error.type"] == Reason.MODEL_FAILED
    assert span.status.status_code is StatusCode.ERROR


async def test_a_reply_is_counted_once_from_when_it_was_there_until_it_is_written(monkeypatch):
    async with serving(MODEL) as world:

        def slowly(*written):
            world.outside.now_s += 3.0
            return write_json(*written)

        monkeypatch.setattr(routes, "write_json", slowly)
        world.outside.now_s = 7.0
        assert (await world.infer(STEP)).status == 200
        await asyncio.gather(world.infer({"inputs": []}), world.post("/v2/models/no/infer", STEP))
        assert world.outside.notes.replies == [("gru1", 1, 3.0)]
