"""The worker threads: those that run long batches, and those for what isn't a run."""

import contextlib
import logging
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

logger = logging.getLogger(__name__)

THREADS_ASIDE = 4
"""What isn't a run (loading, long prompts) has so many threads more than there are for runs."""
RUN_NICENESS = 5
"""Of the threads that run long batches."""
END_WITHIN_S = 1.0
"""A stop waits no longer for what threads still do: nobody can end a thread from outside."""


class Workers:
    """Two pools of threads, one for runs."""

    def __init__(self, count: int) -> None:
        self.runs = ThreadPoolExecutor(count, "run", initializer=yield_to_loop)
        self.aside = ThreadPoolExecutor(count + THREADS_ASIDE, "aside")
        logger.info("long batches run on %d threads", count)

    def dismiss(self) -> None:
        """Take no more work; whoever has some finishes it."""
        for pool in (self.runs, self.aside):
            pool.shutdown(wait=False, cancel_futures=True)


def still_at_work() -> list[str]:
    """Wait a moment for every thread of the process that would keep it alive; the names of those
    that work on. The workers must be dismissed."""
    until_s = time.monotonic() + END_WITHIN_S
    others = [
        thread
        for thread in threading.enumerate()
        if thread is not threading.main_thread() and not thread.daemon
    ]
    for thread in others:
        thread.join(max(0.0, until_s - time.monotonic()))
    return [thread.name for thread in others if thread.is_alive()]


def yield_to_loop() -> None:
    """Let the loop and gRPC's threads go first where they share a core with this thread's runs."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), RUN_NICENESS)
