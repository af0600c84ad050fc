"""Connections to the HTTP server: what is no HTTP, what is too large, who may call, and its end."""

import asyncio
import gc
import gzip
import json
import logging
import socket
import weakref

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plain_models import doubling_model, marked_model
from rnnserve.errors import Reason, Refusal
from rnnserve.wire.http.document import MAX_JSON_BYTES
from rnnserve.wire.http.guard import Guard
from rnnserve.wire.http.inference import HEADER_LENGTH
from rnnserve.wire.http.server import HttpServer
from small_models import small_model
from unit.service.calls import tasks
from unit.service.http_calls import HOST, HttpNotes, World, serving, until

LIMIT = 1000
PAGE = "https://a.page"


def post(path: str, body: bytes, *headers: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: x", "Connection: close", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


async def status_and_body(reader: asyncio.StreamReader) -> tuple[int, dict]:
    """Of a response that ends with its connection."""
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    assert b"aiohttp" not in head
    assert b"Python" not in head
    return int(head.split()[1]), json.loads(body)


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\n\r\n",
        b"GET * HTTP/1.1\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: " + b"a" * 20_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_refused_in_json_and_not_logged(data, caplog):
    async with serving(marked_model()) as world, world.raw(data) as reader:
        status, body = await status_and_body(reader)
        assert (status, body["reason"]) == (400, "malformed")
        assert caplog.records == []


@given(st.binary(max_size=80))
@settings(max_examples=60, suppress_health_check=list(HealthCheck), deadline=None)
async def test_any_bytes_leave_the_server_well(data):
    async with serving(marked_model()) as world:
        async with world.raw(data):
            assert (await world.get("/v2/health/live")).status == 200
        assert (await world.get("/v2/health/live")).status == 200


async def test_a_body_whose_chunks_are_none_is_refused():
    head = "/v2/models/marked/infer"
    async with serving(marked_model()) as world:
        data = post(head, b'5\r\n{"a":\r\nzz\r\n', "Transfer-Encoding: chunked")
        async with world.raw(data) as reader:
            status, body = await status_and_body(reader)
            assert (status, body["reason"]) == (400, "malformed")


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("more", [0, 1])
async def test_a_body_is_bounded_to_the_byte(chunked, more):
    body = b"x" * (LIMIT + more)
    async with serving(marked_model(), max_body_bytes=LIMIT) as world:
        if chunked:
            body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
            data = post("/v2/models/marked/infer", body, "Transfer-Encoding: chunked")
        else:
            data = post("/v2/models/marked/infer", body, f"Content-Length: {len(body)}")
        async with world.raw(data) as reader:
            status, found = await status_and_body(reader)
        assert status == 400
        assert found["reason"] == ("frame_too_large" if more else "malformed")


async def test_a_body_that_says_it_is_too_large_is_not_waited_for():
    data = post("/v2/models/marked/infer", b"", f"Content-Length: {1 << 60}")
    async with serving(marked_model(), max_body_bytes=LIMIT) as world:
        reader, writer = await asyncio.open_connection(HOST, world.port)
        writer.write(data)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 400 ")
        writer.transport.abort()


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "GZIP", "gzip, gzip"])
async def test_a_body_is_never_decompressed(encoding):
    bomb = gzip.compress(b"[" * 10_000_000)
    async with serving(marked_model()) as world:
        reply = await world.infer(bomb, {"Content-Encoding": encoding})
        assert (reply.status, reply.json["reason"]) == (400, "malformed")
        assert "encoded" in reply.json["error"]


async def test_long_json_is_refused_and_as_many_numbers_as_bytes_are_taken():
    count = MAX_JSON_BYTES // 2
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, count]}
    async with serving(doubling_model(), max_body_bytes=8 << 20) as world:
        body = {"inputs": [tensor | {"data": [0.0] * count}]}
        reply = await world.infer(body)
        assert (reply.status, reply.json["reason"]) == (400, "frame_too_large")
        assert "binary" in reply.json["error"]
        tensor["parameters"] = {"binary_data_size": 4 * count}
        said = json.dumps({"inputs": [tensor]}).encode()
        reply = await world.infer(said + bytes(4 * count), {HEADER_LENGTH: str(len(said))})
        assert reply.status == 200
        assert len(reply.json["outputs"][0]["data"]) == count


async def test_curl_may_send_what_type_it_likes():
    body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [1]}]}
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Expect": "100-continue"}
    async with serving(doubling_model()) as world:
        assert (await world.infer(body, headers)).status == 200


async def test_responses_name_no_versions():
    async with serving(marked_model()) as world:
        for path in ("/", "/v2", "/nowhere"):
            assert (await world.get(path)).headers["Server"] == "rnnserve"


async def test_a_client_that_is_gone_while_it_is_written_to_is_no_error(caplog):
    async def written_to(request: web.Request) -> web.StreamResponse:
        request.transport.close()
        response = web.StreamResponse()
        await response.prepare(request)
        return response

    notes = HttpNotes()
    one = HttpServer([web.get("/", written_to)], notes, max_body_bytes=LIMIT)
    port = await one.start(HOST, 0)
    reader, writer = await asyncio.open_connection(HOST, port)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert await reader.read() == b""
    writer.close()
    await one.stop(1.0)
    assert caplog.records == []
    assert notes.refusals == []


class Body:
    """Of megabytes, maybe."""


async def test_what_is_refused_keeps_nothing_of_its_request_alive():
    kept: list[weakref.ref[Body]] = []

    async def refuses(request: web.Request) -> web.Response:
        body = Body()
        kept.append(weakref.ref(body))
        raise Refusal(Reason.MALFORMED, "no")

    guard = Guard(HttpNotes())
    request = make_mocked_request("GET", "/")
    gc.collect()
    gc.disable()
    try:
        response = await guard.middleware(request, refuses)
        assert response.status == 400
        assert kept[0]() is None
    finally:
        gc.enable()


# Pages of other origins.


async def preflight(world: World) -> dict[str, str]:
    headers = {"Origin": PAGE, "Access-Control-Request-Method": "POST"}
    reply = await world.ask("OPTIONS", "/v2/models/marked/infer", None, headers)
    return dict(reply.headers) if reply.status < 300 else {}


async def test_no_page_of_another_origin_may_call_unless_told_so():
    async with serving(marked_model()) as world:
        assert await preflight(world) == {}
        reply = await world.ask("GET", "/v2", None, {"Origin": PAGE})
        assert not any(name.startswith("Access-Control") for name in reply.headers)


@pytest.mark.parametrize("allowed", [PAGE, "*"])
async def test_a_page_of_the_origin_that_is_allowed_may_call(allowed):
    async with serving(marked_model(), allow_origin=allowed) as world:
        told = await preflight(world)
        assert told["Access-Control-Allow-Origin"] == allowed
        assert "POST" in told["Access-Control-Allow-Methods"]
        assert HEADER_LENGTH in told["Access-Control-Allow-Headers"]
        for path in ("/v2", "/v2/models/nobody"):
            reply = await world.get(path)
            assert reply.headers["Access-Control-Allow-Origin"] == allowed
            assert HEADER_LENGTH in reply.headers["Access-Control-Expose-Headers"]


# The end.


def server(notes: HttpNotes) -> HttpServer:
    return HttpServer([], notes, max_body_bytes=LIMIT)


async def test_a_port_that_is_taken_is_an_error_and_leaves_nothing():
    before = tasks()
    with socket.create_server((HOST, 0)) as taken:
        one = server(HttpNotes())
        with pytest.raises(OSError, match="in use"):
            await one.start(HOST, taken.getsockname()[1])
        await one.stop(0.0)
    assert tasks() == before


async def test_a_server_that_never_started_stops():
    await server(HttpNotes()).stop(0.0)


async def generating(world: World) -> asyncio.Task:
    """A generation over HTTP that has begun."""
    body = {"text_input": "a", "parameters": {"max_tokens": 60_000}}
    call = asyncio.create_task(world.post("/v2/models/gru1/generate", body))
    await until(lambda: world.outside.model.generations)
    return call


async def test_a_stop_waits_for_what_is_under_way_and_takes_nothing_new():
    async with serving(small_model("gru", 1), running=False) as world:
        call = await generating(world)
        stop = asyncio.create_task(world.server.stop(30.0))
        await until(lambda: refuses(world.port))
        await asyncio.wait({stop}, timeout=0.2)
        assert not stop.done()
        world.generations.cut(RuntimeError("over"))
        logging.disable()
        try:
            assert (await call).status == 500
        finally:
            logging.disable(logging.NOTSET)
        await stop
        world.outside.tick()


async def test_what_is_under_way_when_the_grace_is_over_is_cancelled():
    before = tasks()
    async with serving(small_model("gru", 1), running=False) as world:
        call = await generating(world)
        await world.server.stop(0.0)
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await call
        world.outside.tick()
        assert not world.outside.model.sessions
    assert tasks() == before


def refuses(port: int) -> bool:
    """Whether nobody listens there."""
    with socket.socket() as client:
        return client.connect_ex((HOST, port)) != 0
