"""Generation over HTTP, in the form of Triton's generate extension.

`{"text_input": ..., "parameters": {...}}` in; out come objects with `model_name`, `model_version`
and `text_output`: from `generate` one with the whole text, from `generate_stream` one for every
piece as it is made, as server-sent events. The last has `end` too: the cause, the counts, and the
seed that would draw the same again. What goes wrong after the first event comes as an event with
`error` and `reason`; a stream that ends without either was cut off.

Sources: Triton's `extension_generate`; the WHATWG standard's "Server-sent events".
"""

import asyncio
import json

from aiohttp import web

from rnnserve.errors import Refusal
from rnnserve.v1 import rnnserve_pb2 as v1
from rnnserve.wire.http import document
from rnnserve.wire.http.document import Fields, malformed
from rnnserve.wire.http.refusals import text_of

LAST_WORDS_S = 1.0
"""How long an error waits for a client that reads slowly."""
INT64_END, UINT64_END = 1 << 63, 1 << 64


def read_request(body: bytes, name: str, version: int, *, stream: bool) -> v1.GenerateRequest:
    """The request; its parameters may stand beside the text, as Triton lets them.

    Raises Refusal: malformed, frame_too_large.
    """
    fields = Fields(document.read(body), "the request")
    request = v1.GenerateRequest(model=name, version=version, text=fields.need("text_input", str))
    parameters = fields.inner("parameters")
    beside = fields.rest()
    within = parameters.rest()
    if twice := beside.keys() & within.keys():
        raise malformed(f"{min(twice)[:80]!r} stands in the request and in its 'parameters'")
    parameters = Fields(beside | within, "the request")
    if parameters.take("stream", bool, stream) is not stream:
        raise malformed(
            f"'stream' is {'false' if stream else 'true'}; "
            f"POST to {'generate' if stream else 'generate_stream'} for that"
        )
    _fill(request.sampling, parameters)
    parameters.done()
    return request


def _fill(sampling: v1.Sampling, parameters: Fields) -> None:
    if "max_tokens" in parameters:
        # To the message, 0 is not said.
        sampling.max_tokens = parameters.integer("max_tokens", 1, UINT64_END)
    for key in ("top_k", "seed"):
        if key in parameters:
            setattr(sampling, key, parameters.integer(key, 0, UINT64_END))
    for key in ("temperature", "top_p", "repetition_penalty"):
        if key in parameters:
            setattr(sampling, key, parameters.need(key, float))
    if parameters.holds("stop", str):
        sampling.stop.append(parameters.need("stop", str))
    elif "stop" in parameters:
        sampling.stop.extend(parameters.texts("stop"))
    if "stop_tokens" in parameters:
        sampling.stop_tokens.extend(parameters.integers("stop_tokens", 0, INT64_END))


class Answer:
    """One generation's words as JSON objects."""

    def __init__(self, request: v1.GenerateRequest) -> None:
        self._model = {"model_name": request.model, "model_version": str(request.version)}

    def text(self, text: str, end: v1.GenerateEnd | None) -> str:
        """An object with a piece of the text, or with all of it, and the end where it is one."""
        said: dict[str, object] = {**self._model, "text_output": text}
        if end is not None:
            said["end"] = {
                "cause": v1.GenerateEnd.Cause.Name(end.cause).lower(),
                "prompt_tokens": end.prompt_tokens,
                "generated_tokens": end.generated_tokens,
                "seed": end.seed,
            }
        return json.dumps(said)


class WholeText:
    """Collects a generation: stands where gRPC's context does."""

    def __init__(self) -> None:
        self.text = ""
        self.end: v1.GenerateEnd | None = None

    async def write(self, message: v1.GenerateReply) -> None:
        self.text += message.text
        if message.HasField("end"):
            self.end = message.end


class Events:
    """Sends a generation as it is made: stands where gRPC's context does.

    The response begins with the first event, so that what is refused before has its own status.
    A write waits while the client doesn't read.
    """

    def __init__(self, request: web.Request, answer: Answer) -> None:
        self._request = request
        self._answer = answer
        self.response = web.StreamResponse(
            headers={
                "Content-Type": "text/event-stream; charset=utf-8",
                "Cache-Control": "no-cache",
                # nginx would collect them otherwise.
                "X-Accel-Buffering": "no",
            }
        )

    @property
    def begun(self) -> bool:
        return self.response.prepared

    async def write(self, message: v1.GenerateReply) -> None:
        end = message.end if message.HasField("end") else None
        await self._send(self._answer.text(message.text, end))

    async def fail(self, refusal: Refusal) -> None:
        """The last event. A client that doesn't read it loses its connection."""
        try:
            async with asyncio.timeout(LAST_WORDS_S):
                await self._send(text_of(refusal))
                await self.response.write_eof()
        except TimeoutError:
            if self._request.transport is not None:
                self._request.transport.abort()

    async def _send(self, text: str) -> None:
        if not self.begun:
            await self.response.prepare(self._request)
        # JSON has no line breaks of its own: an event is one line.
        await self.response.write(f"data: {text}\n\n".encode())
