"""The connections that a load's streams share; one that was lost is made again when asked for."""

import asyncio
import ssl

from rnnserve_bench.errors import BenchProblem
from rnnserve_bench.light_channel import LightCall, LightChannel
from rnnserve_bench.session_talk import STREAM

CONNECT_TIMEOUT_S = 10.0


class Connections:
    """`count` of them to one server."""

    def __init__(self, target: str, count: int, tls: ssl.SSLContext | None = None) -> None:
        self._target, self._tls = target, tls
        self._channels = [LightChannel(target, tls) for _ in range(count)]
        self._locks = [asyncio.Lock() for _ in range(count)]

    async def call(self, place: int) -> LightCall:
        """A stream of frames, on connection number `place`. Raises BenchProblem."""
        place %= len(self._channels)
        async with self._locks[place]:
            if self._channels[place].is_closed:
                channel = self._channels[place] = LightChannel(self._target, self._tls)
                try:
                    async with asyncio.timeout(CONNECT_TIMEOUT_S):
                        await channel.channel_ready()
                except (OSError, TimeoutError) as error:
                    raise BenchProblem(
                        f"no answer from {self._target}: is `rnnserve serve` running there? "
                        "--target says where else to look, --tls-ca whom to trust "
                        f"({error or 'timeout'})"
                    ) from None
        call: LightCall = self._channels[place].stream_stream(STREAM)()
        return call

    async def close(self) -> None:
        await asyncio.gather(*(channel.close() for channel in self._channels))
