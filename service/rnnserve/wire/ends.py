"""The two ends of a stream, a task that reads and one that writes, until both are over."""

import asyncio
from typing import Protocol

LAST_OPERATIONS_S = 5.0
"""For a cancelled call's last read and write to end."""


class Abandoned(Protocol):
    """What passes from the one to the other."""

    def abandon(self) -> None:
        """Nobody reads any more: reader and writer stop, whatever is ready."""


async def both_ends(
    reader: asyncio.Task[None], writer: asyncio.Task[None], between: Abandoned
) -> None:
    """Returns when the writer has, or raises what it raised; neither task outlives this.

    Where the call is cancelled, what gRPC does for it ends by itself and is waited for: a read or a
    write whose await is cancelled, or a write begun on a call that is gone, is never freed in its
    core, 256 bytes each.
    """
    try:
        await asyncio.wait({writer})
        writer.result()
    except asyncio.CancelledError:
        between.abandon()
        await asyncio.wait({reader, writer}, timeout=LAST_OPERATIONS_S)
        raise
    finally:
        for task in (reader, writer):
            task.cancel()
        await asyncio.gather(reader, writer, return_exceptions=True)
