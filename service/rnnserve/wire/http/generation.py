"""Generation over HTTP, in the form of Triton's generate extension.

`{"text_input": ..., "parameters": {...}}` in; out come objects with `model_name`, `model_version`
and `text_output`: from `generate` one with the whole text, from `generate_stream` one for every
piece as it is made, as server-sent events. The last has `end` too: the cause, the counts, and the
seed that would draw the same again. What goes wrong after the first event comes as an event with
`error` and `reason`; a stream that ends without either was cut off.

Source: Triton's `extension_generate`, which lets parameters stand beside the text too.
"""

import json
from collections.abc import Callable

from aiohttp import web

from rnnserve.engine.meter import Meter
from rnnserve.engine.model import Model
from rnnserve.errors import Refusal
from rnnserve.v1 import rnnserve_pb2 as v1
from rnnserve.wire.generate import Generations
from rnnserve.wire.http import document
from rnnserve.wire.http.body import body_of
from rnnserve.wire.http.document import INT64_END, UINT64_END, Fields, malformed
from rnnserve.wire.http.guard import CAUSE, SPAN
from rnnserve.wire.http.readers import Events, WholeText
from rnnserve.wire.status import internal


class Generate:
    """The calls `generate` and `generate_stream`, over the generations that gRPC has too."""

    def __init__(
        self, generations: Generations, find: Callable[[str, str], Model], meter: Meter
    ) -> None:
        """`find` a model by its name and the text of a version; it raises Refusal."""
        self._generations = generations
        self._find = find
        self._meter = meter

    async def whole(self, request: web.Request) -> web.Response:
        """The whole text at once."""
        asked = self._asked(request, await body_of(request), stream=False)
        text = WholeText()
        await self._generations.serve(asked, text, request[SPAN])
        return web.json_response(text=answer(asked, text.reply))

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """The text as it is made."""
        asked = self._asked(request, await body_of(request), stream=True)
        events = Events(request, lambda reply: answer(asked, reply))
        try:
            await self._generations.serve(asked, events, request[SPAN])
        except Exception as error:
            if not events.begun or isinstance(error, ConnectionError):
                raise
            refusal = error.again() if isinstance(error, Refusal) else internal(error)
            self._meter.refused(refusal.reason)
            request[CAUSE] = refusal
            await events.fail(refusal)
        return events.response

    def _asked(self, request: web.Request, body: bytes, *, stream: bool) -> v1.GenerateRequest:
        path = request.match_info
        asked = read_request(body, stream=stream)
        # The version is made certain, since every answer names it.
        spec = self._find(path["name"], path.get("version", "")).spec
        asked.model, asked.version = spec.name, spec.version
        return asked


def read_request(body: bytes, *, stream: bool) -> v1.GenerateRequest:
    """What is asked of a model, which is not named yet. Raises Refusal: malformed,
    frame_too_large."""
    fields = Fields(document.read(body), "the request")
    request = v1.GenerateRequest(text=fields.need("text_input", str))
    within = fields.inner("parameters").rest()
    beside = fields.rest()
    if twice := beside.keys() & within.keys():
        raise malformed(f"{min(twice)[:80]!r} stands in the request and in its 'parameters'")
    parameters = Fields(beside | within, "the request")
    if parameters.take("stream", bool, stream) is not stream:
        other = "generate" if stream else "generate_stream"
        raise malformed(f"'stream' is {str(not stream).lower()}; POST to {other} for that")
    _fill(request.sampling, parameters)
    parameters.done()
    return request


def answer(asked: v1.GenerateRequest, reply: v1.GenerateReply) -> str:
    """A piece of the text, or all of it, as JSON."""
    said: dict[str, object] = {
        "model_name": asked.model,
        "model_version": str(asked.version),
        "text_output": reply.text,
    }
    if reply.HasField("end"):
        said["end"] = {
            "cause": v1.GenerateEnd.Cause.Name(reply.end.cause).lower(),
            "prompt_tokens": reply.end.prompt_tokens,
            "generated_tokens": reply.end.generated_tokens,
            "seed": reply.end.seed,
        }
    return json.dumps(said)


def _fill(sampling: v1.Sampling, parameters: Fields) -> None:
    if "max_tokens" in parameters:
        # In the message, 0 stands for what was not said.
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
