"""`rnnserve serve`."""

import asyncio
import signal

from rnnserve.ops import logs
from rnnserve.ops.server import Server
from rnnserve.settings import ServeSettings

DEFAULTS = ServeSettings()


def serve(*, settings: ServeSettings = DEFAULTS) -> None:
    """Serve every model of a repository over gRPC.

    Ready when the log says so. SIGTERM or Ctrl-C refuses new sessions, gives the open ones
    --grace-s seconds and stops; a second one stops at once.
    """
    logs.set_up(settings.log_level)
    server = Server(settings)
    asyncio.run(_run(server))


async def _run(server: Server) -> None:
    stop, stop_hard = asyncio.Event(), asyncio.Event()

    def signalled() -> None:
        (stop_hard if stop.is_set() else stop).set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, signalled)
    await server.serve(stop, stop_hard)
