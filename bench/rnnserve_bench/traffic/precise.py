"""A selector that waits to the microsecond, on any number of connections.

select() waits so finely, and stands no file descriptor from 1,024 on; epoll stands them all, and
rounds its wait up to a millisecond, by which all that is due would be late. The one can wait for
the other, as an epoll is itself a file that becomes readable.
"""

import select
import selectors


class PreciseSelector(selectors.EpollSelector):
    """select() on the one file of an epoll."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait for at most so many seconds; None: until something is there."""
        if timeout is None or timeout > 0:
            select.select([self.fileno()], [], [], timeout)
        return super().select(0)
