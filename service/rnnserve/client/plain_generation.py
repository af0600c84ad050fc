"""One generation of the client without asyncio."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc

from rnnserve.client.errors import from_rpc_error
from rnnserve.client.generation import End, Piece, read_end, read_piece
from rnnserve.v1 import rnnserve_pb2 as pb
from rnnserve.v1 import rnnserve_pb2_grpc as rpc

if TYPE_CHECKING:
    from rnnserve.client.plain_session import Session


@dataclass(frozen=True)
class Continued:
    """The session that a generation goes on from, as far as the generation knows it."""

    begin: Callable[[], None]
    ended: Callable[[End], "Session | None"]
    """Told its end; returns the fork, if there is one."""
    left: Callable[[str], None]
    """Told where it failed or was left before its end, with the fork's id where one was named."""


class Generation:
    """One generation, read once.

        generation = client.generate("letters", "ROMEO:", max_tokens=100)
        for piece in generation:
            print(piece.text, end="", flush=True)
        print(generation.end.seed)

    Where the loop is left early, the server stops too.
    """

    end: End | None = None
    """How it ended; None before that."""
    fork: "Session | None" = None
    """The fork it went on from, where one was asked for: after the end, and yours to close.
    Where it is left before its end, the fork is closed, and this stays None."""

    def __init__(
        self,
        stub: rpc.RnnServeStub,
        request: pb.GenerateRequest,
        continued: Continued | None = None,
    ) -> None:
        self._stub = stub
        self._request = request
        self._continued = continued

    def __iter__(self) -> Iterator[Piece]:
        if self._continued:
            self._continued.begin()
        fork_id = ""
        call = self._stub.Generate(self._request)
        try:
            for reply in call:
                fork_id = fork_id or reply.fork_id
                if end := read_end(reply):
                    self._ended(end)
                if piece := read_piece(reply):
                    yield piece
        except grpc.RpcError as error:
            raise from_rpc_error(error) from None
        finally:
            call.cancel()
            if self.end is None and self._continued:
                self._continued.left(fork_id)

    def _ended(self, end: End) -> None:
        self.end = end
        if self._continued:
            self.fork = self._continued.ended(end)
