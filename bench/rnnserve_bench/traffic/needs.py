"""What a load needs of this machine, found out before it and not after: files to write, connections
to hold."""

import importlib.util
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rnnserve_bench.errors import BenchProblem

SPARE_FILES = 64
"""That a process has open besides its connections."""


def check_file(option: str, path: Path | None) -> None:
    """Raises BenchProblem where nothing can be written there; None is no file."""
    if path is None:
        return
    folder = path.parent
    if not folder.is_dir():
        raise BenchProblem(f"{option} {path}: there is no folder {folder}")
    if path.is_dir():
        raise BenchProblem(f"{option} {path}: that is a folder")
    if not os.access(path if path.exists() else folder, os.W_OK):
        raise BenchProblem(f"{option} {path}: it can't be written")


def check_picture(option: str, path: Path | None) -> None:
    """`check_file`, and something to draw with."""
    check_file(option, path)
    if path is not None and importlib.util.find_spec("matplotlib") is None:
        raise BenchProblem(
            f"{option} needs matplotlib: pip install matplotlib, or leave {option} out"
        )


@contextmanager
def writing(option: str, path: Path) -> Iterator[None]:
    """Turns what a file system says meanwhile, of a full disk say, into a BenchProblem."""
    try:
        yield
    except OSError as error:
        raise BenchProblem(f"{option} {path}: {error.strerror or error}") from None


def check_connections(count: int) -> None:
    """Raises BenchProblem where a process may not have so many connections open."""
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and count > most - SPARE_FILES:
        raise BenchProblem(
            f"--connections: {count} in one process, which may have {most - SPARE_FILES}: take "
            "fewer, more --workers, or a higher `ulimit -n`"
        )
