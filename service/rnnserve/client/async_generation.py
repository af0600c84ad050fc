"""One generation of the client for asyncio."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rnnserve.client.generation import End, Piece, read_end, read_piece
from rnnserve.client.stream import read
from rnnserve.v1 import rnnserve_pb2 as pb
from rnnserve.v1 import rnnserve_pb2_grpc as rpc

if TYPE_CHECKING:
    from rnnserve.client.async_session import AsyncSession


@dataclass(frozen=True)
class Continued:
    """The session that a generation goes on from, as far as the generation knows it."""

    begin: Callable[[], Awaitable[None]]
    ended: Callable[[End], "AsyncSession | None"]
    """Told its end; returns the fork, if there is one."""
    left: Callable[[str], None]
    """Told where it failed or was left before its end, with the fork's id where one was named."""


class AsyncGeneration:
    """One generation, read once.

        generation = client.generate("letters", "ROMEO:", max_tokens=100)
        async for piece in generation:
            print(piece.text, end="", flush=True)
        print(generation.end.seed)

    Where the loop is left early, the server stops too.
    """

    end: End | None = None
    """How it ended; None before that."""
    fork: "AsyncSession | None" = None
    """The fork it went on from, where one was asked for: after the end, and yours to close.
    Where it is left before its end, the fork is closed, and this stays None."""

    def __init__(
        self,
        stub: "rpc.RnnServeAsyncStub",
        request: pb.GenerateRequest,
        continued: Continued | None = None,
    ) -> None:
        self._stub = stub
        self._request = request
        self._continued = continued

    async def __aiter__(self) -> AsyncIterator[Piece]:
        if self._continued:
            await self._continued.begin()
        fork_id = ""
        call = self._stub.Generate(self._request)
        try:
            while (reply := await read(call)) is not None:
                fork_id = fork_id or reply.fork_id
                if end := read_end(reply):
                    self._ended(end)
                if piece := read_piece(reply):
                    yield piece
        finally:
            call.cancel()
            if self.end is None and self._continued:
                self._continued.left(fork_id)

    def _ended(self, end: End) -> None:
        self.end = end
        if self._continued:
            self.fork = self._continued.ended(end)
