"""The documented example, from training to the alarm, and the laws over what it serves."""

import asyncio
import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from rnnserve.client import AsyncClient, Client
from server_process import ServerProcess

EXAMPLE = Path(__file__).parents[2] / "export" / "examples" / "sensor.py"
MAX_SESSIONS = 6
TOLERANCE = 1e-5

Answer = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def sensor() -> ModuleType:
    description = importlib.util.spec_from_file_location("sensor", EXAMPLE)
    assert description is not None
    assert description.loader is not None
    module = importlib.util.module_from_spec(description)
    description.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def watchman(sensor: ModuleType) -> torch.nn.Module:
    return sensor.trained().eval()


@pytest.fixture(scope="module")
def server(sensor, watchman, tmp_path_factory) -> Iterator[ServerProcess]:
    repository = tmp_path_factory.mktemp("example") / "repository"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sensor, "trained", lambda: watchman)
        sensor.app(["publish", str(repository)], result_action="return_value")
    with ServerProcess(repository, "--max-sessions", str(MAX_SESSIONS)) as process:
        yield process
        assert process.stop() == 0


@pytest.fixture
def machine(sensor):
    """Readings (T, 6) of a machine that goes wrong half way."""
    return lambda seed, count=60: sensor.machine(np.random.default_rng(seed), count, count // 2)[0]


@pytest.fixture
def expected(watchman):
    """What torch answers to readings (T, 6) of a new session."""

    def answer(readings: np.ndarray) -> Answer:
        begin = {name: state[None] for name, state in watchman.states.items()}
        with torch.no_grad():
            _, outputs = watchman(begin, torch.from_numpy(readings[None]))
        return {name: tensor[0].numpy() for name, tensor in outputs.items()}

    return answer


def joined(answers: list[Answer]) -> Answer:
    return {name: np.concatenate([answer[name] for answer in answers]) for name in answers[0]}


def agree(found: Answer, wanted: Answer) -> None:
    assert found.keys() == wanted.keys() == {"fault", "forecast"}
    for name, array in wanted.items():
        np.testing.assert_allclose(found[name], array, atol=TOLERANCE, rtol=0, err_msg=name)


def test_the_alarm_comes_soon_after_the_fault_and_not_before(server):
    watching = [sys.executable, str(EXAMPLE), "watch", server.target]
    said = subprocess.run(watching, check=True, capture_output=True, text=True).stdout
    found = re.fullmatch(r"alarm at reading (\d+); the fault began at 200\n", said)
    assert found, said
    assert 200 <= int(found[1]) < 230


@pytest.mark.parametrize("cuts", [(60,), (1,) * 60, (1, 59), (2, 3, 5, 7, 11, 13, 19)])
def test_what_is_served_is_what_torch_gives_in_any_chunks(server, machine, expected, cuts):
    readings = machine(3)
    chunks = np.split(readings, np.cumsum(cuts)[:-1])
    with Client(server.target) as client, client.open("watchman") as session:
        agree(joined(list(session.steps(chunks))), expected(readings))
        assert session.index == 60


async def test_company_changes_nothing(server, machine, expected):
    async def live(client: AsyncClient, seed: int) -> Answer:
        async with client.open("watchman") as session:
            cuts = np.cumsum(np.random.default_rng(seed).integers(1, 9, 6))
            return joined([await session.step(chunk) for chunk in np.split(machine(seed), cuts)])

    async with AsyncClient(server.target) as client:
        found = await asyncio.gather(*(live(client, seed) for seed in range(MAX_SESSIONS)))
        assert (await client.audit()).problems == ()
    for seed, answer in enumerate(found):
        agree(answer, expected(machine(seed)))


def test_a_place_used_again_remembers_nothing(server, machine, expected):
    with Client(server.target) as client:
        for seed in range(2 * MAX_SESSIONS):
            readings = machine(seed, 20)
            with client.open("watchman") as session:
                agree(session.step(readings), expected(readings))


def test_a_session_travels_with_its_window(server, machine, expected):
    readings = machine(5)
    with Client(server.target) as client, client.open("watchman") as session:
        before = session.step(readings[:2])
        with client.restore("watchman", session.export()) as again:
            agree(joined([before, again.step(readings[2:])]), expected(readings))
