from collections.abc import AsyncIterator

import pytest

from rnnserve.client import AsyncClient, Client
from unit.client.awaited import AwaitedClient
from unit.client.fake import Running


@pytest.fixture(params=["asyncio", "plain"])
async def client(
    request: pytest.FixtureRequest, running: Running
) -> AsyncIterator[AsyncClient | AwaitedClient]:
    """Both clients, so that each sentence holds for both."""
    if request.param == "asyncio":
        async with AsyncClient(running.target) as client:
            yield client
    else:
        with Client(running.target) as plain:
            yield AwaitedClient(plain)


@pytest.fixture
async def aio(running: Running) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(running.target) as client:
        yield client
