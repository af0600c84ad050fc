"""A running server follows its repository: models come, are replaced, go, and break."""

import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import tiny_models as tiny
from rnnserve.client import Client, ServerError
from server_process import ServerProcess

ONE = np.ones((1, 1), np.float32)


@pytest.fixture(params=["polled", "asked"])
def following(request, tmp_path) -> Iterator[tuple[Path, Client, Callable[[], None]]]:
    """A repository, a client of its server, and what lets the server look."""
    tiny.publish(tmp_path, [tiny.accumulator(name="sum")])
    polled = request.param == "polled"
    options = ("--poll-s", "0.05") if polled else ()
    with (
        ServerProcess(tmp_path, "--grace-s", "0.2", *options) as server,
        Client(server.target) as client,
    ):
        yield tmp_path, client, lambda: None if polled else server.signal(signal.SIGHUP)
        assert server.stop() == 0


def until(holds: Callable[[], bool]) -> None:
    """The test's own timeout is its deadline."""
    while not holds():
        pass


def versions(client: Client) -> dict[str, int]:
    return {model.name: model.version for model in client.models().ready}


def broken(client: Client) -> set[tuple[str, int]]:
    return {(model.name, model.version) for model in client.models().broken}


def test_the_server_follows_its_repository_and_sessions_end_where_they_began(following):
    repository, client, look = following
    with client.open("sum") as old:
        assert old.step(ONE) == 1
        # Replaced.
        shutil.copytree(repository / "sum" / "1", repository / ".2")
        (repository / ".2").rename(repository / "sum" / "2")
        look()
        until(lambda: versions(client) == {"sum": 2})
        with client.open("sum") as new:
            assert (old.step(ONE), new.step(ONE)) == (2, 1)
        # Broken.
        (repository / "sum" / "3").mkdir()
        (repository / "sum" / "3" / "model.onnx").write_bytes(b"no graph")
        look()
        until(lambda: broken(client) == {("sum", 3)})
        assert versions(client) == {"sum": 2}
        # Added.
        tiny.publish(repository, [tiny.accumulator(name="late")])
        look()
        until(lambda: "late" in versions(client))
        # Removed.
        shutil.rmtree(repository / "sum")
        look()
        until(lambda: set(versions(client)) == {"late"})
        assert old.step(ONE) == 3
        with pytest.raises(ServerError) as error, client.open("sum") as session:
            session.step(ONE)
        assert error.value.reason == "unknown_model"
    assert client.audit().problems == ()
