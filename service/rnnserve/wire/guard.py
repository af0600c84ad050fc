"""What stands around every handler: a refusal becomes a status, and a bug shows nothing."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, NoReturn

import grpc

from rnnserve.engine.meter import Meter
from rnnserve.errors import Reason, Refusal
from rnnserve.wire.status import CODES, DETAILS_KEY, internal, status_of
from rnnserve.wire.tracing import UNTRACED, CallSpan, Method, Tracer

Context = grpc.aio.ServicerContext[Any, Any]


@asynccontextmanager
async def guarded(
    context: Context,
    meter: Meter,
    code_of: Callable[[Reason], grpc.StatusCode] = CODES.__getitem__,
    *,
    tracer: Tracer = UNTRACED,
    method: Method | None = None,
) -> AsyncIterator[CallSpan | None]:
    """End the call with the right status, whatever the body raises; `code_of` is the contract's.
    Where a `method` is given, the body gets the call's span, if it is to have one.

    Cancellation passes through untouched: a handler that swallows it leaks in gRPC's core.
    """
    span: CallSpan | None = None
    code, cause = grpc.StatusCode.CANCELLED, None
    try:
        if method is not None and tracer is not UNTRACED:
            span = tracer.call(method, context.invocation_metadata())
        yield span
        code = grpc.StatusCode.OK
    except grpc.aio.AbortError:
        raise
    except Refusal as refusal:
        # What was raised holds the whole call by its traceback, this frame included.
        code, cause = code_of(refusal.reason), refusal.again()
        await _abort(context, meter, refusal, code)
    except Exception as error:
        if context.cancelled() or context.done():
            # The call ended under a write: nobody is left to be told.
            return
        cause = internal(error)
        code = code_of(cause.reason)
        await _abort(context, meter, cause, code)
    finally:
        if span is not None:
            span.end(code.name, cause)


def _abort(
    context: Context, meter: Meter, refusal: Refusal, code: grpc.StatusCode
) -> Awaitable[NoReturn]:
    meter.refused(refusal.reason)
    details = ((DETAILS_KEY, status_of(refusal, code).SerializeToString()),)
    return context.abort(code, refusal.message, details)
