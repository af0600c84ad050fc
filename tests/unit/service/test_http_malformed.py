"""Whatever comes over HTTP: answered, or refused with a sentence, and nobody else is harmed."""

import json
from collections.abc import Callable, Iterable
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plain_models import PlainModel, doubling_model, marked_model, memory_model
from rnnserve.engine import sampling
from rnnserve.wire import generate
from rnnserve.wire.http.inference import HEADER_LENGTH
from small_models import SmallModel, small_model
from unit.service.http_calls import World, serving

# Once a runner has run, its thread flushes denormals to zero.
FLOATS = st.floats(allow_nan=False, allow_subnormal=False)
SCALARS = st.none() | st.booleans() | st.integers() | FLOATS | st.text(max_size=5)
KEYS = (
    *("id", "parameters", "inputs", "outputs", "name", "shape", "datatype", "data"),
    *("sequence_id", "sequence_start", "sequence_end", "timeout", "priority", "model_name"),
    *("binary_data_output", "binary_data", "binary_data_size", "shared_memory_region"),
    *("text_input", "max_tokens", "stop", "top_p", "temperature", "seed", "stream", "ready"),
)
DOCUMENTS = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=3), inner, max_size=5)
    ),
    max_leaves=12,
)


class Case(NamedTuple):
    model: Callable[[], PlainModel | SmallModel]
    path: str
    good: dict
    """A body that is right."""


SEQUENCE = {
    **{"sequence_id": 7, "sequence_start": True, "sequence_end": True, "timeout": 1_000_000},
    **{"priority": 0, "binary_data_output": False},
}
X = {"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [[2.0]]}
TOKENS = {"name": "tokens", "datatype": "INT64", "shape": [1, 2], "data": [1, 2]}
NUMBER = {"id": "a", "inputs": [X], "outputs": [{"name": "y"}], "parameters": SEQUENCE}
SAMPLING = {
    **{"max_tokens": 3, "temperature": 0.5, "top_k": 2, "top_p": 0.5, "seed": 1, "stop": ["x"]},
    **{"stop_tokens": [1], "repetition_penalty": 1.5},
}
TEXT = {"text_input": "ab", "parameters": SAMPLING}
GENERATOR = small_model("gru", 1)
CASES = {
    "sequence": Case(marked_model, "/v2/models/marked/infer", NUMBER),
    "alone": Case(doubling_model, "/v2/models/double/infer", NUMBER),
    "tokens": Case(
        lambda: GENERATOR,
        "/v2/models/gru1/versions/1/infer",
        {"inputs": [TOKENS], "parameters": SEQUENCE},
    ),
    "generate": Case(lambda: GENERATOR, "/v2/models/gru1/generate", TEXT),
    "stream": Case(lambda: GENERATOR, "/v2/models/gru1/generate_stream", TEXT),
    "index": Case(marked_model, "/v2/repository/index", {"ready": True}),
    "load": Case(marked_model, "/v2/repository/models/marked/load", {"parameters": {}}),
    "unload": Case(
        marked_model,
        "/v2/repository/models/marked/unload",
        {"parameters": {"unload_dependents": False}},
    ),
}


def places(value: object, at: tuple = ()) -> list[tuple]:
    """Every way down into a document, but to itself."""
    inner: Iterable[tuple] = ()
    if isinstance(value, dict):
        inner = value.items()
    elif isinstance(value, list):
        inner = enumerate(value)
    deeper = [place for key, one in inner for place in places(one, (*at, key))]
    return [at, *deeper] if at else deeper


@st.composite
def mutated(draw: st.DrawFn, good: dict) -> object:
    """A good document with a few values replaced, taken out, or put beside others."""
    found = json.loads(json.dumps(good))
    for _ in range(draw(st.integers(0, 3))):
        if not (ways := places(found)):
            break
        *way, last = draw(st.sampled_from(ways))
        inner = found
        for key in way:
            inner = inner[key]
        match draw(st.sampled_from(["replace", "take out", "add"])):
            case "replace":
                inner[last] = draw(DOCUMENTS)
            case "take out":
                del inner[last]
            case _ if isinstance(inner, dict):
                inner[draw(st.sampled_from(KEYS))] = draw(DOCUMENTS)
            case _:
                inner.append(draw(DOCUMENTS))
    return found


@st.composite
def with_bytes(draw: st.DrawFn, good: dict) -> tuple[bytes, str]:
    """A request with bytes behind the JSON, and a header, that may all disagree."""
    size = draw(st.sampled_from([4, 4, 4, 0, 8, -1, 1 << 70]))
    tensor = {**X, "parameters": {"binary_data_size": size}}
    del tensor["data"]
    said = json.dumps({**good, "inputs": [tensor]}).encode()
    length = str(len(said))
    wrong = st.sampled_from(["0", "5", "-1", "+5", "9" * 30, "x", "1_0", "\u0663", "99999"])
    tail = st.binary(min_size=4, max_size=4) | st.binary(max_size=9)
    return said + draw(tail), draw(st.just(length) | st.just(length) | wrong)


def requests(case: Case) -> st.SearchStrategy[tuple[bytes, str | None]]:
    """Bodies, and the header with the length of their JSON where they have one."""

    def in_json(document: object) -> tuple[bytes, None]:
        return json.dumps(document).encode(), None

    return st.one_of(
        mutated(case.good).map(in_json),
        mutated(case.good).map(in_json),
        with_bytes(case.good),
        DOCUMENTS.map(in_json),
        st.tuples(st.binary(max_size=60), st.none()),
    )


async def answered_or_refused(world: World, path: str, body: bytes, header: str | None) -> None:
    headers = {} if header is None else {HEADER_LENGTH: header}
    reply = await world.post(path, body, headers)
    if reply.status == 200:
        return
    assert 400 <= reply.status < 500 or reply.status in (501, 503), reply.body
    assert set(reply.json) == {"error", "reason"}
    assert reply.json["reason"] not in ("internal", "model_failed")
    assert reply.json["error"]


@pytest.fixture(autouse=True)
def short_generations(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server's own limit, which holds where a request says none, is far away."""
    monkeypatch.setattr(sampling, "MAX_TOKENS", 20)
    monkeypatch.setattr(generate, "MAX_TOKENS", 20)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
@given(st.data())
@settings(max_examples=50, suppress_health_check=list(HealthCheck), deadline=None)
async def test_whatever_comes_is_answered_or_refused(case, data):
    async with serving(case.model()) as world:
        for body, header in data.draw(st.lists(requests(case), min_size=1, max_size=4)):
            await answered_or_refused(world, case.path, body, header)
        assert not world.outside.model.generations


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
async def test_what_is_right_is_answered(case):
    async with serving(case.model()) as world:
        assert (await world.post(case.path, case.good)).status == 200


@given(st.lists(mutated(NUMBER), min_size=1, max_size=4))
@settings(max_examples=50, suppress_health_check=list(HealthCheck), deadline=None)
async def test_a_neighbour_goes_on_as_if_nothing_had_come(documents):
    def step(value: int, *, start: bool) -> dict:
        tensor = {"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [value]}
        parameters = {"sequence_id": "a neighbour", "sequence_start": start}
        return {"inputs": [tensor], "parameters": parameters}

    async with serving(memory_model()) as world:
        assert (await world.infer(step(5, start=True))).status == 200
        for document in documents:
            await world.infer(document)
        reply = await world.infer(step(1, start=False))
        assert reply.json["outputs"][0]["data"] == [6]
