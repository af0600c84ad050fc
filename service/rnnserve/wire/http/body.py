"""The body of a request: bounded, as it is, and whole."""

from aiohttp import web

from rnnserve.errors import Reason, Refusal
from rnnserve.wire.http.document import malformed


async def body_of(request: web.Request) -> bytes:
    """Raises Refusal: malformed, frame_too_large."""
    encoding = request.headers.get("Content-Encoding", "identity")
    if encoding.lower() != "identity":
        raise malformed(f"the body is encoded ({encoding[:80]!r}); send it as it is")
    limit = request.client_max_size
    if request.content_length is not None and request.content_length > limit:
        raise _too_large(limit)
    try:
        return await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise _too_large(limit) from None
    except web.RequestPayloadError:
        raise malformed("the body is not as its headers say") from None


def _too_large(limit: int) -> Refusal:
    return Refusal(
        Reason.FRAME_TOO_LARGE, f"the body is too large; at most {limit} bytes", limit=limit
    )
