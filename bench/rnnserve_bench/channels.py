"""Connections to a server, by one of two clients."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc

from rnnserve_bench.light_channel import LightChannel

LIGHT, GRPC = "light", "grpc"
OPTIONS: tuple[tuple[str, Any], ...] = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # Otherwise channels to one target would share a connection.
    ("grpc.use_local_subchannel_pool", 1),
)
CONNECT_TIMEOUT_S = 10.0


@asynccontextmanager
async def open_channels(target: str, client: str, count: int = 1) -> AsyncIterator[list[Any]]:
    """`count` connections, ready for use, and closed after it.

    `client` is LIGHT or GRPC; either takes and gives bytes. Raises TimeoutError or OSError where
    nobody answers.
    """
    channels = [_channel(target, client) for _ in range(count)]
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            await asyncio.gather(*(channel.channel_ready() for channel in channels))
        yield channels
    finally:
        await asyncio.gather(*(channel.close() for channel in channels))


def _channel(target: str, client: str) -> Any:
    if client == LIGHT:
        return LightChannel(target)
    return grpc.aio.insecure_channel(target, list(OPTIONS))
