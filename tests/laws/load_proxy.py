"""A way to the server that breaks: each connection is cut after so many bytes."""

import asyncio
from random import Random
from typing import Self


class CuttingProxy:
    """Passes bytes on; in the middle of a frame, as likely as not, both ends lose the other."""

    def __init__(self, target: str, rng: Random, lives_bytes: tuple[int, int]) -> None:
        self.target = ""
        self.cuts = 0
        self._host, self._port = target.rsplit(":", 1)
        self._rng = rng
        self._lives_bytes = lives_bytes
        self._connections: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        host, port = self._server.sockets[0].getsockname()
        self.target = f"{host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for connection in list(self._connections):
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await self._server.wait_closed()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.create_task(self._carry(reader, writer))
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(self._host, self._port)
        life = Life(self._rng.randint(*self._lives_bytes))
        ways = (life.pump(reader, far_writer), life.pump(far_reader, writer))
        tasks = [asyncio.create_task(way) for way in ways]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.cuts += life.left_bytes <= 0
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for end in (writer, far_writer):
                end.transport.abort()


class Life:
    """What one connection may still carry, in both directions together."""

    def __init__(self, left_bytes: int) -> None:
        self.left_bytes = left_bytes

    async def pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while self.left_bytes > 0 and (data := await reader.read(4096)):
            writer.write(data[: self.left_bytes])
            self.left_bytes -= len(data)
            await writer.drain()
