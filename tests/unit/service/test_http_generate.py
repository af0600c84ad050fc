"""Generation over HTTP: the text that gRPC would have given, as it is made, and nothing left."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from rnnserve.engine.backlog import BacklogLimits
from rnnserve.engine.table import TableLimits
from rnnserve.errors import Reason, Refusal
from rnnserve.v1 import rnnserve_pb2 as v1
from rnnserve.wire.http import readers
from rnnserve.wire.pieces import MAX_UNSENT_TOKENS
from small_models import small_model
from unit.service.calls import Client, tasks, turn
from unit.service.http_calls import HOST, World, serving, until

MODEL = small_model("gru", 1)
WIDE = replace(MODEL, spec=replace(MODEL.spec, name="m" * 4000))
"""Every event has the name: a few hundred of them fill all there is between two processes."""
WHOLE = "/v2/models/gru1/generate"
STREAM = "/v2/models/gru1/generate_stream"
END_OF_EVENT = b"\n\n"


def asked(**parameters) -> dict:
    return {"text_input": "abc", "parameters": {"temperature": 0.0, **parameters}}


def request(path: str, document: dict) -> bytes:
    body = json.dumps(document).encode()
    return b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (
        path.encode(),
        len(body),
        body,
    )


def events(body: bytes) -> list[dict]:
    """The events of a response, each of them one line of data."""
    *found, rest = body.split(END_OF_EVENT)
    assert rest == b""
    for event in found:
        assert event.startswith(b"data: {")
        assert b"\n" not in event
    return [json.loads(event.removeprefix(b"data: ")) for event in found]


async def made(world: World, tokens: int) -> None:
    """Let the engine run until it has made so many."""

    def enough() -> bool:
        if world.outside.notes.tokens < tokens:
            world.outside.tick()
        return world.outside.notes.tokens >= tokens

    await until(enough)


async def by_grpc(world: World, **sampling) -> tuple[str, v1.GenerateEnd]:
    """What the call of the native API is told."""
    client = Client()
    generate = v1.GenerateRequest(model="gru1", text="abc", sampling=v1.Sampling(**sampling))
    await world.generations.serve(generate, client)
    return "".join(reply.text for reply in client.read), client.read[-1].end


@pytest.mark.parametrize(
    "sampling",
    [
        {"temperature": 0.0, "max_tokens": 20, "seed": 0},
        {"temperature": 0.7, "max_tokens": 20, "seed": 11, "top_k": 5, "top_p": 0.9},
        {"seed": (1 << 64) - 1, "max_tokens": 9, "repetition_penalty": 1.5},
        {"seed": 1, "stop": ["a", "e", "i"]},
        {"seed": 2, "stop_tokens": [1, 2, 3, 4, 5, 6, 7, 8, 9]},
    ],
)
async def test_the_text_is_the_one_that_grpc_gives(sampling):
    async with serving(MODEL) as world:
        text, end = await by_grpc(world, **sampling)
        cause = v1.GenerateEnd.Cause.Name(end.cause).lower()
        told = {
            "cause": cause,
            "prompt_tokens": 3,
            "generated_tokens": end.generated_tokens,
            "seed": end.seed,
        }
        body = {"text_input": "abc", "parameters": sampling}
        whole = (await world.post(WHOLE, body)).json
        assert whole == {
            "model_name": "gru1",
            "model_version": "1",
            "text_output": text,
            "end": told,
        }
        # Beside the text, as Triton lets them.
        assert (await world.post(WHOLE, {"text_input": "abc", **sampling})).json == whole
        reply = await world.post(STREAM, body)
        assert reply.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        found = events(reply.body)
        assert "".join(event["text_output"] for event in found) == text
        assert [event.get("end") for event in found] == [None] * (len(found) - 1) + [told]
        assert {event["model_version"] for event in found} == {"1"}
        assert not world.outside.model.sessions


async def test_a_seed_that_was_told_draws_the_same_again():
    async with serving(MODEL) as world:
        body = {"text_input": "abc", "parameters": {"max_tokens": 30}}
        first = (await world.post(WHOLE, body)).json
        again = {**body["parameters"], "seed": first["end"]["seed"]}
        assert (await world.post(WHOLE, {**body, "parameters": again})).json == first


async def test_a_stop_text_may_be_one_string():
    async with serving(MODEL) as world:
        one = (await world.post(WHOLE, asked(stop="a", temperature=1.0, seed=3))).json
        assert one["end"]["cause"] == "stop_text"
        assert one == (await world.post(WHOLE, asked(stop=["a"], temperature=1.0, seed=3))).json


async def test_tokens_come_as_they_are_made():
    stream = request(STREAM, asked(max_tokens=3))
    async with serving(MODEL, running=False) as world, world.raw(stream) as reader:
        event = b""
        for token in range(3):
            assert b'"end"' not in event
            await made(world, token + 1)
            event = await reader.readuntil(END_OF_EVENT)
            assert b'"text_output"' in event
        assert b'"end"' in event


@pytest.mark.parametrize("path", [WHOLE, STREAM])
@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ({}, "malformed"),
        ({"text_input": 1}, "malformed"),
        ({"text_input": ""}, "empty_chunk"),
        ({"text_input": "a", "parameters": {"temperature": -1}}, "bad_sampling"),
        ({"text_input": "a", "parameters": {"temperature": 10**400}}, "bad_sampling"),
        ({"text_input": "a", "parameters": {"max_tokens": 0}}, "malformed"),
        ({"text_input": "a", "parameters": {"max_tokens": 1 << 64}}, "malformed"),
        ({"text_input": "a", "parameters": {"stop": [1]}}, "malformed"),
        ({"text_input": "a", "parameters": {"nonsense": 1}}, "malformed"),
        ({"text_input": "a", "nonsense": 1}, "malformed"),
        ({"text_input": "a", "seed": 1, "parameters": {"seed": 1}}, "malformed"),
        ({"text_input": "a" * 70_000}, "chunk_too_long"),
    ],
)
async def test_what_does_not_begin_is_refused_with_its_status(path, document, reason):
    async with serving(MODEL) as world:
        reply = await world.post(path, document)
        assert (reply.status, reply.json["reason"]) == (400, reason)
        assert world.notes.refusals == [Reason(reason)]
        assert not world.outside.model.sessions


@pytest.mark.parametrize(("path", "stream"), [(WHOLE, False), (STREAM, True)])
async def test_stream_says_what_the_path_says(path, stream):
    async with serving(MODEL) as world:
        assert (await world.post(path, asked(stream=stream, max_tokens=1))).status == 200
        reply = await world.post(path, asked(stream=not stream))
        assert reply.json["reason"] == "malformed"
        assert "POST to" in reply.json["error"]


async def test_a_full_server_refuses_before_the_first_event():
    async with serving(MODEL, backlog=BacklogLimits(max_steps=2)) as world:
        reply = await world.post(STREAM, asked())
        assert (reply.status, reply.json["reason"]) == (503, "overloaded")


async def test_what_goes_wrong_behind_the_first_event_is_the_last_event():
    stream = request(STREAM, asked())
    async with serving(MODEL, running=False) as world, world.raw(stream) as reader:
        await made(world, 1)
        await reader.readuntil(END_OF_EVENT)
        world.generations.cut(Refusal(Reason.DRAINING, "the server is stopping"))
        last = await reader.readuntil(END_OF_EVENT)
        assert json.loads(last.partition(b"data: ")[2]) == {
            "error": "the server is stopping",
            "reason": "draining",
        }
        assert await reader.readuntil(b"0\r\n\r\n")
        assert world.notes.refusals == [Reason.DRAINING]
        world.outside.tick()
        assert not world.outside.model.sessions


async def test_a_bug_behind_the_first_event_shows_an_id_alone(caplog):
    stream = request(STREAM, asked())
    async with serving(MODEL, running=False) as world, world.raw(stream) as reader:
        await made(world, 1)
        await reader.readuntil(END_OF_EVENT)
        world.generations.cut(RuntimeError("secret"))
        last = await reader.readuntil(END_OF_EVENT)
        assert b'"reason": "internal"' in last
        assert b"secret" not in last
        assert len(caplog.records) == 1
        world.outside.tick()


@pytest.mark.parametrize("path", [WHOLE, STREAM])
@pytest.mark.parametrize("moment", ["queued", "running", "between tokens"])
async def test_a_client_that_vanishes_leaves_nothing(path, moment):
    async with serving(MODEL, running=False) as world:
        before = tasks()
        work = None
        async with world.raw(request(path, asked())):
            await until(lambda: world.outside.model.generations)
            if moment == "running":
                work = world.outside.begin()
            if moment == "between tokens":
                await made(world, 3)
                await turn()
        await until(lambda: tasks() <= before)
        if work is not None:
            world.outside.finish(work)
        world.outside.tick()
        await turn()
        assert not world.outside.model.sessions
        assert not world.outside.model.generations
        assert world.notes.refusals == []


@asynccontextmanager
async def unread(world: World, document: dict) -> AsyncIterator[socket.socket]:
    """A client that asks for a stream and doesn't read it; its socket takes little by itself."""
    loop = asyncio.get_running_loop()
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.setblocking(False)
        await loop.sock_connect(client, (HOST, world.port))
        path = f"/v2/models/{world.spec.name}/generate_stream"
        await loop.sock_sendall(client, request(path, document))
        await until(lambda: world.outside.model.generations)
        yield client


async def stuck(world: World, most: int) -> int:
    """Tokens made when no more are, though the engine would."""
    idle = 0
    while idle < 200:
        idle = 0 if world.outside.tick() else idle + 1
        assert world.outside.notes.tokens < most, "nothing held it back"
        await asyncio.sleep(0)
    return world.outside.notes.tokens


async def test_a_client_that_does_not_read_holds_its_generation_back_and_no_other():
    async with serving(WIDE, running=False) as world:
        async with unread(world, asked(max_tokens=60_000)) as client:
            made = await stuck(world, 60_000)
            assert made > MAX_UNSENT_TOKENS
            engine = asyncio.create_task(world.run())
            whole = f"/v2/models/{world.spec.name}/generate"
            assert (await world.post(whole, asked(max_tokens=5))).status == 200
            loop = asyncio.get_running_loop()
            while world.outside.notes.tokens < made + 1000:
                assert await loop.sock_recv(client, 1 << 16)
        await until(lambda: not world.outside.model.sessions)
        engine.cancel()


async def test_a_client_that_does_not_read_for_too_long_is_cut_off():
    limits = TableLimits(idle_timeout_s=0.05)
    async with serving(WIDE, running=False, table=limits) as world:
        before = tasks()
        async with unread(world, asked(max_tokens=60_000)) as client:
            await stuck(world, 60_000)
            await until(lambda: tasks() <= before)
            world.outside.tick()
            assert not world.outside.model.sessions
            assert world.notes.refusals == [Reason.SESSION_EXPIRED]
            await dropped(client)


async def test_the_last_words_wait_only_so_long_for_a_client_that_does_not_read(monkeypatch):
    monkeypatch.setattr(readers, "LAST_WORDS_S", 0.05)
    words = "w" * (16 << 20)
    async with serving(WIDE, running=False) as world:
        before = tasks()
        async with unread(world, asked(max_tokens=60_000)) as client:
            await made(world, 1)
            await turn()
            world.generations.cut(Refusal(Reason.DRAINING, words))
            await until(lambda: tasks() <= before)
            await dropped(client)
        world.outside.tick()


async def dropped(client: socket.socket) -> None:
    """The connection ends, and what waited to be sent on it never comes."""
    loop = asyncio.get_running_loop()
    received = b""
    while data := await loop.sock_recv(client, 1 << 16):
        received += data
    assert not received.endswith(b"0\r\n\r\n")
