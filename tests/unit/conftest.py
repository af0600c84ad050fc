"""The fake server, for the tests of everything that talks to one."""

from collections.abc import Iterator

import pytest

from unit.client.fake import Fake, Running


@pytest.fixture
def running() -> Iterator[Running]:
    running = Running()
    yield running
    running.kill()


@pytest.fixture
def fake(running: Running) -> Fake:
    return running.fake
