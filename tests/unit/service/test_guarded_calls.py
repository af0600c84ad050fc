"""How a call of gRPC's ends, whatever its handler raises: what its span says, and what is kept."""

import asyncio
import gc
import weakref
from contextlib import suppress

import grpc
import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode

from rnnserve.errors import Reason, Refusal
from rnnserve.wire.guard import guarded
from unit.service.calls import Client
from unit.service.traced import (
    LONG,
    SAMPLED,
    Traced,
)


class Caller:
    """The other end of a call that ends with a status."""

    def __init__(self) -> None:
        self.code = None

    def invocation_metadata(self):
        return (("traceparent", SAMPLED),)

    def cancelled(self) -> bool:
        return False

    done = cancelled

    async def abort(self, code, message, details) -> None:
        self.code = code
        raise grpc.aio.AbortError


async def ended_with(raised: BaseException | None) -> ReadableSpan:
    """The span of a call whose body raises this."""
    traced = Traced()
    try:
        async with guarded(Caller(), traced.engine.notes, tracer=traced.spans, method=LONG):
            if raised is not None:
                raise raised
    except (grpc.aio.AbortError, asyncio.CancelledError):
        pass
    return traced.one(LONG.name)


@pytest.mark.parametrize(
    ("raised", "code", "error", "status"),
    [
        (None, "OK", None, StatusCode.UNSET),
        (asyncio.CancelledError(), "CANCELLED", None, StatusCode.UNSET),
        (Refusal(Reason.MALFORMED, ""), "INVALID_ARGUMENT", "malformed", StatusCode.UNSET),
        (Refusal(Reason.DRAINING, ""), "UNAVAILABLE", "draining", StatusCode.ERROR),
        (ValueError("secret"), "INTERNAL", "internal", StatusCode.ERROR),
    ],
)
async def test_a_calls_span_has_the_status_that_the_caller_gets(raised, code, error, status):
    found = await ended_with(raised)
    assert found.attributes["rpc.response.status_code"] == code
    assert found.attributes.get("error.type") == error
    assert found.status.status_code is status
    assert "secret" not in found.to_json()


async def test_what_a_call_is_refused_with_keeps_nothing_of_it_alive():
    traced, lefts = Traced(), []

    async def call() -> None:
        client = Client()
        lefts.append(weakref.ref(client))
        with suppress(grpc.aio.AbortError):
            async with guarded(Caller(), traced.engine.notes, tracer=traced.spans, method=LONG):
                raise Refusal(Reason.MALFORMED, "no")

    gc.collect()
    gc.disable()
    try:
        await call()
        assert lefts[0]() is None
    finally:
        gc.enable()


async def test_a_bug_can_be_found_in_the_log_by_its_span(caplog):
    found = await ended_with(ValueError("secret"))
    assert found.attributes["rnnserve.log_id"] in caplog.text
