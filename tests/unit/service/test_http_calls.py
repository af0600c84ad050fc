"""The protocol over HTTP: every call, as curl and tritonclient make it."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plain_models import doubling_model, marked_model, memory_model
from rnnserve.errors import Reason
from rnnserve.wire.http.inference import HEADER_LENGTH, read_request
from rnnserve.wire.http.messages import plain
from rnnserve.wire.http.routes import LISTED
from rnnserve.wire.inference.repository import Indexed, State
from unit.service.http_calls import Reply, serving


def one(name: str, datatype: str, shape: list[int], data: list, **parameters) -> dict:
    tensor = {"name": name, "datatype": datatype, "shape": shape, "data": data}
    return tensor | ({"parameters": parameters} if parameters else {})


def x(*values: float) -> dict:
    return one("x", "FP32", [1, len(values)], list(values))


def start(value: float, number: object = 7, **more) -> dict:
    parameters = {"sequence_id": number, "sequence_start": True, **more}
    return {"inputs": [x(value)], "parameters": parameters}


def on(value: float, number: object = 7, **more) -> dict:
    return {"inputs": [x(value)], "parameters": {"sequence_id": number, **more}}


def outputs(reply: Reply) -> dict[str, list]:
    assert reply.status == 200, reply.body
    return {output["name"]: output["data"] for output in reply.json["outputs"]}


def binary(inputs: list[tuple[dict, bytes]], **more) -> tuple[bytes, dict[str, str]]:
    """A body with the tensors' bytes behind the JSON, and its header."""
    tensors = [
        tensor | {"parameters": {"binary_data_size": len(memory)}} for tensor, memory in inputs
    ]
    said = json.dumps({"inputs": tensors, **more}).encode()
    return said + b"".join(memory for _, memory in inputs), {HEADER_LENGTH: str(len(said))}


async def test_a_sequence_goes_on_from_request_to_request():
    async with serving(marked_model()) as world:
        assert outputs(await world.infer(start(2)))["y"] == [2]
        assert outputs(await world.infer(on(3)))["y"] == [5]
        last = outputs(await world.infer(on(4, sequence_end=True)))
        assert (last["y"], last["marks"], last["id"]) == ([9], [0, 1, 1], [7])
        gone = await world.infer(on(5))
        assert (gone.status, gone.json["reason"]) == (400, "sequence_not_started")
        assert "must specify the START flag" in gone.json["error"]


async def test_a_reply_says_what_it_answers():
    async with serving(marked_model()) as world:
        reply = await world.infer(start(2) | {"id": "a", "outputs": [{"name": "id"}]})
        assert reply.headers["Content-Type"].startswith("application/json")
        assert reply.json == {
            "id": "a",
            "model_name": "marked",
            "model_version": "1",
            "outputs": [{"name": "id", "datatype": "UINT64", "shape": [1, 1], "data": [7]}],
        }
        named = {"model_name": "marked", "model_version": "1"}
        path = "/v2/models/marked/versions/1/infer"
        assert outputs(await world.post(path, named | start(1)))["y"] == [1]
        other = await world.post(path, on(1) | {"model_version": "2"})
        assert (other.status, other.json["reason"]) == (400, "malformed")


@pytest.mark.parametrize("number", [1, (1 << 63) - 1, 1 << 63, (1 << 64) - 1])
async def test_every_sequence_id_of_64_bits_survives(number):
    async with serving(marked_model()) as world:
        assert outputs(await world.infer(start(2, number)))["id"] == [number]
        assert outputs(await world.infer(on(2, number)))["y"] == [4]


async def test_a_sequence_id_may_be_a_text_and_is_not_the_number_that_it_spells():
    async with serving(memory_model()) as world:
        for number, value in (("7", 1), (7, 10)):
            await world.infer(start(value, number))
        assert outputs(await world.infer(on(1, "7")))["y"] == [2]
        assert outputs(await world.infer(on(1, 7)))["y"] == [11]


async def test_tensors_travel_as_bytes_where_asked_for():
    memory = np.array([[1.5, -0.0, np.nan]], "<f4").tobytes()
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 3]}
    async with serving(doubling_model()) as world:
        body, header = binary([(tensor, memory)], parameters={"binary_data_output": True})
        reply = await world.infer(body, header)
        assert reply.headers["Content-Type"] == "application/octet-stream"
        length = int(reply.headers[HEADER_LENGTH])
        (told,) = json.loads(reply.body[:length])["outputs"]
        assert told["parameters"] == {"binary_data_size": 12}
        assert "data" not in told
        doubled = np.frombuffer(reply.body[length:], "<f4")
        np.testing.assert_array_equal(doubled, [3, 0, np.nan])
        # What an output says of itself goes before what is said of all.
        body, header = binary(
            [(tensor, memory)],
            parameters={"binary_data_output": True},
            outputs=[{"name": "y", "parameters": {"binary_data": False}}],
        )
        reply = await world.infer(body, header)
        assert HEADER_LENGTH not in reply.headers
        assert outputs(reply)["y"] == [3, 0, "NaN"]


async def test_outputs_as_bytes_follow_in_their_order_beside_one_that_is_json():
    wanted = [
        {"name": "id", "parameters": {"binary_data": True}},
        {"name": "marks"},
        {"name": "y", "parameters": {"binary_data": True}},
    ]
    async with serving(marked_model()) as world:
        reply = await world.infer(start(2) | {"outputs": wanted})
        length = int(reply.headers[HEADER_LENGTH])
        told = json.loads(reply.body[:length])["outputs"]
        assert [output.get("data") for output in told] == [None, [1, 0, 1], None]
        assert reply.body[length:] == np.uint64(7).tobytes() + np.float32(2).tobytes()


async def test_infinity_goes_round_through_json():
    async with serving(doubling_model()) as world:
        values = ["Infinity", "-Infinity", "NaN", 0.25]
        reply = await world.infer({"inputs": [one("x", "FP32", [1, 4], values)]})
        assert outputs(reply)["y"] == ["Infinity", "-Infinity", "NaN", 0.5]


VALUES = st.lists(st.floats(width=32, allow_subnormal=False), min_size=1, max_size=4)


@given(st.lists(st.tuples(VALUES, st.booleans()), min_size=1, max_size=4))
def test_json_and_bytes_are_the_same_request(tensors):
    names = {float("inf"): "Infinity", float("-inf"): "-Infinity"}
    in_json, mixed, tail = [], [], b""
    for values, as_bytes in tensors:
        data = ["NaN" if value != value else names.get(value, value) for value in values]
        tensor = one("x", "FP32", [len(values)], data)
        in_json.append(tensor)
        memory = np.array(values, "<f4").tobytes()
        if as_bytes:
            del (tensor := dict(tensor))["data"]
            tensor["parameters"] = {"binary_data_size": len(memory)}
            tail += memory
        mixed.append(tensor)
    said = json.dumps({"inputs": mixed}).encode()
    plain_one, _ = read_request(json.dumps({"inputs": in_json}).encode(), None, "m", "")
    mixed_one, _ = read_request(said + tail, str(len(said)), "m", "")
    assert plain_one.inputs == mixed_one.inputs
    for one_memory, other in zip(
        plain_one.raw_input_contents, mixed_one.raw_input_contents, strict=True
    ):
        np.testing.assert_array_equal(np.frombuffer(one_memory, "<f4"), np.frombuffer(other, "<f4"))


@pytest.mark.parametrize(
    ("said", "tail", "header", "reason"),
    [
        ({"parameters": {"binary_data_size": 4}}, b"1234", None, "malformed"),
        ({"parameters": {"binary_data_size": 4}}, b"1234", "0", "malformed"),
        ({"parameters": {"binary_data_size": 4}}, b"1234", "9999", "malformed"),
        ({"parameters": {"binary_data_size": 4}}, b"1234", "+80", "malformed"),
        ({"parameters": {"binary_data_size": 4}}, b"1234", "\u0663", "malformed"),
        ({"parameters": {"binary_data_size": 4}}, b"1234", "9" * 5000, "malformed"),
        ({"parameters": {"binary_data_size": 4}}, b"123", "", "wrong_size"),
        ({"parameters": {"binary_data_size": 4}}, b"12345", "", "wrong_size"),
        ({"parameters": {"binary_data_size": 8}}, b"12345678", "", "wrong_size"),
        ({"parameters": {"binary_data_size": -1}}, b"", "", "malformed"),
        ({"parameters": {"binary_data_size": 4.0}}, b"1234", "", "malformed"),
        ({"parameters": {"binary_data_size": 4}, "data": [1]}, b"1234", "", "malformed"),
        ({"data": [1]}, b"1234", "", "wrong_size"),
        ({"data": [1, 2]}, b"", "", "wrong_size"),
        ({}, b"", "", "malformed"),
        ({"parameters": {"shared_memory_region": "a"}}, b"", "", "not_offered"),
    ],
)
async def test_bytes_that_are_not_what_is_said_of_them_are_refused(said, tail, header, reason):
    """An empty header here stands for the right one."""
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 1], **said}
    start_of_body = json.dumps({"inputs": [tensor]}).encode()
    length = header if header != "" else str(len(start_of_body))
    async with serving(doubling_model()) as world:
        headers = {} if length is None else {HEADER_LENGTH: length}
        reply = await world.infer(start_of_body + tail, headers)
        assert (reply.json["reason"], reply.status) == (reason, 501 if "not_" in reason else 400)


# The server, models, and the repository.


async def test_every_path_that_is_listed_is_there_and_every_path_that_is_there_is_listed():
    async with serving(marked_model()) as world:
        listed = (await world.get("/")).body.decode()
        assert listed == LISTED
        for route in world.routes.table():
            path = route.path.replace("/versions/{version}", "")
            if route.path != "/" and route.handler != world.routes.not_offered:
                assert path.removesuffix("unload") in listed
                assert route.method in listed


async def test_live_ready_and_metadata():
    async with serving(marked_model()) as world:
        assert (await world.get("/v2/health/live")).json == {"live": True}
        assert (await world.get("/v2/health/ready")).json == {"ready": True}
        assert (await world.get("/v2")).json == plain(world.inference.server_metadata())
        assert "binary_tensor_data" in (await world.get("/v2")).json["extensions"]
        ready = await world.get("/v2/models/marked/versions/1/ready")
        assert ready.json == {"name": "marked", "ready": True}
        found = (await world.get("/v2/models/marked")).json
        assert found["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 1]}]
        assert found["versions"] == ["1"]
        world.ready = False
        assert (await world.get("/v2/health/live")).status == 200
        for path in ("/v2/health/ready", "/v2/models/marked/ready"):
            reply = await world.get(path)
            assert (reply.status, "error" in reply.json) == (503, True)


async def test_the_configuration_has_every_field_and_numbers_as_numbers():
    async with serving(marked_model()) as world:
        found = (await world.get("/v2/models/marked/versions/1/config")).json
        assert found["name"] == "marked"
        assert found["max_batch_size"] == 8
        assert found["input"][0]["data_type"] == "TYPE_FP32"
        assert found["input"][0]["optional"] is False
        assert found["sequence_batching"]["max_sequence_idle_microseconds"] == 60_000_000


async def test_statistics_count_what_was_run():
    async with serving(marked_model()) as world:
        for value in (1, 2):
            await world.infer(start(value))
        for path in (
            "/v2/models/stats",
            "/v2/models/marked/stats",
            "/v2/models/marked/versions/1/stats",
        ):
            (found,) = (await world.get(path)).json["model_stats"]
            assert (found["name"], found["version"], found["inference_count"]) == ("marked", "1", 2)
            assert found["inference_stats"]["success"]["count"] == 2


async def test_the_index_lists_what_was_found():
    async with serving(marked_model()) as world:
        world.repository.entries.append(Indexed("bad", 0, State.UNAVAILABLE, "no graph"))
        good = {"name": "marked", "version": "1", "state": "READY", "reason": ""}
        bad = {"name": "bad", "version": "", "state": "UNAVAILABLE", "reason": "no graph"}
        assert (await world.post("/v2/repository/index")).json == [good, bad]
        assert (await world.post("/v2/repository/index", {})).json == [good, bad]
        assert (await world.post("/v2/repository/index", {"ready": True})).json == [good]


async def test_load_and_unload_reach_the_repository():
    done = []

    async def load(name: str) -> None:
        done.append(("load", name))

    async def unload(name: str) -> None:
        done.append(("unload", name))

    async with serving(marked_model()) as world:
        world.repository.load, world.repository.unload = load, unload
        path = "/v2/repository/models/a%20b"
        assert (await world.post(path + "/load")).status == 200
        assert (await world.post(path + "/load", {"parameters": {}})).status == 200
        asked = {"parameters": {"unload_dependents": False}}
        assert (await world.post(path + "/unload", asked)).status == 200
        assert done == [("load", "a b"), ("load", "a b"), ("unload", "a b")]
        replaced = await world.post(path + "/load", {"parameters": {"config": "{}"}})
        assert (replaced.status, replaced.json["reason"]) == (501, "not_offered")


@pytest.mark.parametrize(
    ("method", "path", "status", "reason"),
    [
        ("GET", "/v2/models/nobody", 404, "unknown_model"),
        ("GET", "/v2/models/nobody/ready", 404, "unknown_model"),
        ("GET", "/v2/models/marked/versions/2/config", 404, "unknown_model"),
        ("GET", "/v2/models/marked/versions/x", 400, "bad_parameter"),
        ("GET", "/v2/models/nobody/stats", 404, "unknown_model"),
        ("POST", "/v2/models/nobody/infer", 404, "unknown_model"),
        ("POST", "/v2/models/nobody/generate", 404, "unknown_model"),
        ("POST", "/v2/models/nobody/generate_stream", 404, "unknown_model"),
        ("GET", "/v2/models/marked/infer", 405, "not_offered"),
        ("POST", "/v2", 405, "not_offered"),
        ("GET", "/v1", 404, "not_offered"),
        ("GET", "/v2/models", 404, "not_offered"),
        ("GET", "/v2/models/%2e%2e/x", 404, "not_offered"),
        ("GET", "/v2/logging", 501, "not_offered"),
        ("POST", "/v2/trace/setting", 501, "not_offered"),
        ("GET", "/v2/models/marked/trace/setting", 501, "not_offered"),
        ("GET", "/v2/systemsharedmemory/status", 501, "not_offered"),
        ("POST", "/v2/cudasharedmemory/region/a/register", 501, "not_offered"),
    ],
)
async def test_what_is_not_there_is_said_with_its_status(method, path, status, reason):
    body = {"text_input": "a"} if "generate" in path else start(1)
    async with serving(marked_model()) as world:
        reply = await world.ask(method, path, body if method == "POST" else None)
        assert (reply.status, reply.json["reason"]) == (status, reason)
        assert reply.json["error"]
        assert world.notes.refusals == [Reason(reason)]
        assert ("Allow" in reply.headers) is (status == 405)


async def test_a_full_server_is_unavailable_and_says_when_to_come_back():
    async with serving(marked_model()) as world:
        world.outside.engine.drain()
        reply = await world.infer(start(1))
        assert (reply.status, reply.json["reason"]) == (503, "draining")
        assert reply.headers["Retry-After"] == "1"


async def test_a_bug_shows_an_id_and_nothing_of_the_inside(caplog):
    async with serving(marked_model()) as world:

        def broken() -> None:
            raise RuntimeError("secret")

        world.inference.server_metadata = broken
        reply = await world.get("/v2")
        assert (reply.status, reply.json["reason"]) == (500, "internal")
        assert "secret" not in reply.body.decode()
        log_id = reply.json["error"].rpartition(" ")[2]
        (record,) = caplog.records
        assert log_id in record.getMessage()
