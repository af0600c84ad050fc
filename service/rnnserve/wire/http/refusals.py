"""Refusals over HTTP: the one table from the protocol's codes to statuses, and the body.

A refusal is `{"error": sentence, "reason": word}`. Triton's clients read the sentence; the word is
the one that gRPC's ErrorInfo carries and that the error metric is labelled with.
"""

import json
import math
from collections.abc import Awaitable, Callable

import grpc
from aiohttp import web

from rnnserve.errors import Refusal
from rnnserve.wire.inference.texts import code_of

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

STATUSES = {
    grpc.StatusCode.INTERNAL: 500,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.UNIMPLEMENTED: 501,
}
"""As Triton's; every other code is 400."""


def text_of(refusal: Refusal) -> str:
    """The refusal as JSON."""
    return json.dumps({"error": refusal.message, "reason": str(refusal.reason)})


def response_of(refusal: Refusal) -> web.Response:
    response = web.json_response(
        status=STATUSES.get(code_of(refusal.reason), 400), text=text_of(refusal)
    )
    if refusal.retry_after_s is not None:
        response.headers["Retry-After"] = str(math.ceil(refusal.retry_after_s))
    return response
