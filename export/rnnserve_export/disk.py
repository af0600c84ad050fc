"""The few operations on disk that publishing is made of, each whole or not at all.

Everything is written under a name that readers overlook (`.export-...`), forced to the disk, and
only then renamed to where readers look: a kill or a power cut between two operations leaves what
was there before, and at worst a leftover, which a later export removes when it is old.
"""

import errno
import os
import secrets
import shutil
import time
from pathlib import Path

HIDDEN_PREFIX = ".export-"
STALE_S = 3600.0


class Disk:
    """Writes, renames and forces to disk. Raises OSError as the system does."""

    def make_folder(self, path: Path) -> None:
        path.mkdir()

    def write(self, path: Path, contents: bytes) -> None:
        """Write a new file and force it to the disk."""
        with path.open("xb") as file:
            file.write(contents)
            file.flush()
            os.fsync(file.fileno())

    def rename_folder(self, source: Path, target: Path) -> bool:
        """Whether `source` became `target`; False when something stands there already."""
        try:
            source.rename(target)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                return False
            raise
        return True

    def replace_file(self, source: Path, target: Path) -> None:
        """Put `source` in the place of `target`; a reader sees the one or the other."""
        source.replace(target)

    def sync_folder(self, path: Path) -> None:
        """Force the names in a folder to the disk."""
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def remove(self, path: Path) -> None:
        """Remove a file or a folder with all in it, as far as that is possible."""
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def hidden_path(folder: Path) -> Path:
    """A name in `folder` that nobody else uses and that readers overlook."""
    return folder / f"{HIDDEN_PREFIX}{os.getpid()}-{secrets.token_hex(4)}"


def remove_stale(folder: Path, disk: Disk) -> None:
    """Remove what exports that were killed left in `folder` more than an hour ago."""
    oldest_s = time.time() - STALE_S
    for path in folder.glob(f"{HIDDEN_PREFIX}*"):
        try:
            stale = path.lstat().st_mtime < oldest_s
        except FileNotFoundError:  # another export has just finished
            continue
        if stale:
            disk.remove(path)
