"""SIGTERM and Ctrl-C: the first asks the server to stop, a second one ends the process at once.

Signal handlers of Python's, rather than the loop's: they are there before anything is loaded, and
while the loop doesn't turn. (Whoever is process 1 of a container is not ended by a signal for which
it has no handler.)
"""

import logging
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType

from rnnserve.ops import logs

logger = logging.getLogger(__name__)

KILLED = 128
"""What a shell adds to the number of the signal that ended a process: 143 and 130."""
LAST_WORDS_S = 0.2
"""What was logged has so long to be written."""


class StopSignals:
    """Heard from `listen` on, to the end of the process."""

    def __init__(self) -> None:
        self.asked = False
        """Whether the first one has come."""
        self._on_asked: Callable[[], object] | None = None

    def listen(self) -> None:
        """Only from the main thread."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._heard)
        # Until there is a repository to look at again: by default it would end the process.
        signal.signal(signal.SIGHUP, lambda *_: None)

    def tell(self, on_asked: Callable[[], object]) -> None:
        """Call this when the first one comes. Until somebody is to be told, it ends the process:
        nothing is served yet."""
        self._on_asked = on_asked

    def _heard(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            try:
                logger.warning("told twice to stop: all that is open is cut")
                logs.wait_written(LAST_WORDS_S)
            finally:
                os._exit(KILLED + number)
        self.asked = True
        if self._on_asked is None:
            sys.exit(0)
        self._on_asked()
