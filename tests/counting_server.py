"""The command line, with a server that says at its end how many chunks it has answered: so many its
callers must have heard."""

import asyncio
import logging

from rnnserve.cli import main
from rnnserve.ops.server import Server

SAYS = "chunks answered in all:"

serve = Server.serve


async def serve_and_say(self: Server, stop: asyncio.Event) -> None:
    await serve(self, stop)
    answered = sum(model.statistics.answered_chunks for model in self.engine.served)
    # With the server's own lines, not among them: two writers would cut each other's.
    logging.getLogger(__name__).info("%s %d", SAYS, answered)


if __name__ == "__main__":
    Server.serve = serve_and_say
    main()
