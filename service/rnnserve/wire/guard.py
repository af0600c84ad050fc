"""What stands around every handler: a refusal becomes a status, and a bug shows nothing."""

from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any, NoReturn

import grpc

from rnnserve.engine.meter import Meter
from rnnserve.errors import Refusal
from rnnserve.wire.status import CODES, DETAILS_KEY, internal, status_of

Context = grpc.aio.ServicerContext[Any, Any]


@asynccontextmanager
async def guarded(context: Context, meter: Meter) -> AsyncIterator[None]:
    """End the call with the right status, whatever the body raises.

    Cancellation passes through untouched: a handler that swallows it leaks in gRPC's core.
    """
    try:
        yield
    except grpc.aio.AbortError:
        raise
    except Refusal as refusal:
        await _abort(context, meter, refusal)
    except Exception as error:
        if context.cancelled() or context.done():
            # The call ended under a write: nobody is left to be told.
            return
        await _abort(context, meter, internal(error))


def _abort(context: Context, meter: Meter, refusal: Refusal) -> Awaitable[NoReturn]:
    meter.refused(refusal.reason)
    details = ((DETAILS_KEY, status_of(refusal).SerializeToString()),)
    return context.abort(CODES[refusal.reason], refusal.message, details)
