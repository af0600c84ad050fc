"""What stands around every handler: a refusal becomes a status, and a bug shows nothing."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, NoReturn

import grpc

from rnnserve.engine.meter import Meter
from rnnserve.errors import Reason, Refusal
from rnnserve.wire.status import CODES, DETAILS_KEY, internal, status_of

Context = grpc.aio.ServicerContext[Any, Any]


@asynccontextmanager
async def guarded(
    context: Context, meter: Meter, code_of: Callable[[Reason], grpc.StatusCode] = CODES.__getitem__
) -> AsyncIterator[None]:
    """End the call with the right status, whatever the body raises; `code_of` is the contract's.

    Cancellation passes through untouched: a handler that swallows it leaks in gRPC's core.
    """
    try:
        yield
    except grpc.aio.AbortError:
        raise
    except Refusal as refusal:
        await _abort(context, meter, refusal, code_of(refusal.reason))
    except Exception as error:
        if context.cancelled() or context.done():
            # The call ended under a write: nobody is left to be told.
            return
        bug = internal(error)
        await _abort(context, meter, bug, code_of(bug.reason))


def _abort(
    context: Context, meter: Meter, refusal: Refusal, code: grpc.StatusCode
) -> Awaitable[NoReturn]:
    meter.refused(refusal.reason)
    details = ((DETAILS_KEY, status_of(refusal, code).SerializeToString()),)
    return context.abort(code, refusal.message, details)
