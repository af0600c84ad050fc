"""`rnnserve serve`."""

import asyncio
import logging
import os
import signal

import uvloop

from rnnserve.ops import logs
from rnnserve.ops.signals import StopSignals
from rnnserve.settings import ServeSettings

DEFAULTS = ServeSettings()

logger = logging.getLogger(__name__)


def serve(*, settings: ServeSettings = DEFAULTS) -> None:
    """Serve every model of a repository over gRPC.

    Ready when the log says so. SIGTERM or Ctrl-C refuses new sessions, gives the open ones
    --grace-s seconds, answers the steps under way and stops, with status 0; so it does, at once,
    while models load. A second one cuts all that is open: status 143, or 130 by Ctrl-C. SIGHUP
    takes up models that came, changed or went; --poll-s does it by itself.
    """
    logs.hold_standard_streams()
    signals = StopSignals()
    signals.listen()
    logs.set_up(settings.log_level, settings.log_format)
    # A turn of this loop costs a third of one of asyncio's own, and a step takes several.
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(settings, signals))


async def _run(settings: ServeSettings, signals: StopSignals) -> None:
    # This takes a second, in which signals are to be heard.
    from rnnserve.ops.server import Server
    from rnnserve.ops.workers import still_at_work

    server = Server(settings)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    signals.tell(lambda: loop.call_soon_threadsafe(stop.set))
    loop.add_signal_handler(signal.SIGHUP, server.look_again)
    await server.serve(stop)
    if busy := still_at_work():
        logger.warning("left at work: %s", ", ".join(busy))
    if not logs.wait_written() or busy:
        # They would hold up the end of the process for as long as they like.
        os._exit(0)
