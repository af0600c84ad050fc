"""Models that no trainer of ours made, through the native API and its clients."""

import asyncio

import numpy as np
import pytest

from rnnserve.client import AsyncClient, BadInput, Client, ServerError
from server_process import ServerProcess
from tiny_models import all_of_them, publish


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    repository = tmp_path_factory.mktemp("tiny")
    publish(repository, all_of_them())
    with ServerProcess(repository) as server:
        yield server
        assert server.stop() == 0


@pytest.fixture
def client(tiny):
    with Client(tiny.target) as client:
        yield client
        assert client.audit().problems == ()


def f32(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def test_every_model_is_listed_and_none_is_broken(client):
    found = client.models()
    assert {model.name for model in found.ready} == {model.name for model in all_of_them()}
    assert found.broken == ()


def test_a_step_brings_its_shape_and_its_answer_has_one(client):
    with client.open("remembering") as session:
        assert session.step(f32(1, 2)).tolist() == [3]
        assert session.step(f32()).tolist() == [3]
        assert session.step(f32(4, 5, 6)).tolist() == [18]
        assert session.index == 3
        with pytest.raises(BadInput, match="shape"):
            session.step(np.zeros((2, 2), np.float32))
        assert session.step(f32(1)).tolist() == [19]


def test_a_carry_that_grew_travels(client):
    with client.open("remembering") as session:
        session.step(f32(1, 2, 4))
        (fork,) = session.fork()
        with fork, client.restore("remembering", session.export()) as again:
            assert again.step(f32(8)).tolist() == [15]
            assert fork.step(f32(16)).tolist() == [23]
        session.reset()
        assert session.step(f32(1)).tolist() == [1]


def test_a_chunk_of_a_model_without_time_runs_step_by_step(client):
    with client.open(accumulating(client)) as session:
        assert session.step(np.ones((5, 1), np.float32)).ravel().tolist() == [1, 2, 3, 4, 5]
        assert session.index == 5


def accumulating(client: Client) -> str:
    """The name of the model that sums FP32."""
    (name,) = [m.name for m in client.models().ready if m.name.lower().endswith("fp32")]
    return name


def test_what_a_session_sets_once_is_part_of_its_first_carry(client):
    described = client.describe("scaled")
    begins = {tensor.name: np.zeros(tensor.shape, tensor.dtype) for tensor in described.carry}
    (factor,) = [name for name in begins if name == "factor"]
    begins[factor] = np.full_like(begins[factor], 3)
    with client.open("scaled", carry=begins) as session:
        assert session.step(f32(2)).ravel().tolist() == [6]
        session.reset()
        assert session.step(f32(5)).ravel().tolist() == [15]


def test_text_goes_in_and_comes_out(client):
    with client.open("text") as session:
        words = np.array(["one", "zwölf", ""], object)
        assert session.step(words).tolist() == ["one", "zwölf", ""]


def test_a_row_that_the_model_fails_on_fails_alone(tiny):
    async def both() -> list:
        async with (
            AsyncClient(tiny.target) as client,
            client.open("fragile") as good,
            client.open("fragile") as bad,
        ):
            return await asyncio.gather(good.step([1]), bad.step([1000]), return_exceptions=True)

    answer, error = asyncio.run(both())
    assert answer.ravel().tolist() == [1]
    assert isinstance(error, ServerError)
    assert error.reason == "model_failed"
