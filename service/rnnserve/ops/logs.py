"""Logs, to standard error, one line each."""

import logging
import sys

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def set_up(level: str) -> None:
    """Send this process's logs to standard error, from `level` up."""
    logging.basicConfig(stream=sys.stderr, level=level.upper(), format=FORMAT)
