"""`rnnserve serve`."""

import asyncio
import signal

import uvloop

from rnnserve.ops import logs
from rnnserve.ops.server import Server
from rnnserve.settings import ServeSettings

DEFAULTS = ServeSettings()


def serve(*, settings: ServeSettings = DEFAULTS) -> None:
    """Serve every model of a repository over gRPC.

    Ready when the log says so. SIGTERM or Ctrl-C refuses new sessions, gives the open ones
    --grace-s seconds and stops; a second one stops at once. SIGHUP takes up models that came,
    changed or went; --poll-s does it by itself.
    """
    logs.set_up(settings.log_level)
    server = Server(settings)
    # A turn of this loop costs a third of one of asyncio's own, and a step takes several.
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(server))


async def _run(server: Server) -> None:
    stop, stop_hard = asyncio.Event(), asyncio.Event()

    def signalled() -> None:
        (stop_hard if stop.is_set() else stop).set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, signalled)
    loop.add_signal_handler(signal.SIGHUP, server.look_again)
    await server.serve(stop, stop_hard)
