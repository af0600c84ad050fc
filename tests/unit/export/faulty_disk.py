"""A disk whose machine is killed at a chosen operation."""

from pathlib import Path

from rnnserve_export.disk import Disk


class Killed(BaseException):
    """The process is gone: nothing after this reaches the disk."""


class FaultyDisk(Disk):
    """Does `lives` operations, is killed in the middle of the next, and does nothing after that.

    A write that is killed leaves half a file; the other operations are whole or nothing.
    """

    def __init__(self, lives: float = float("inf")) -> None:
        self.lives = lives
        self.operations: list[str] = []

    def make_folder(self, path: Path) -> None:
        self._live("make_folder")
        super().make_folder(path)

    def write(self, path: Path, contents: bytes) -> None:
        try:
            self._live("write")
        except Killed:
            if self.lives == -1:  # this one, not one after the kill
                path.write_bytes(contents[: len(contents) // 2])
            raise
        super().write(path, contents)

    def rename_folder(self, source: Path, target: Path) -> bool:
        self._live("rename_folder")
        return super().rename_folder(source, target)

    def replace_file(self, source: Path, target: Path) -> None:
        self._live("replace_file")
        super().replace_file(source, target)

    def sync_folder(self, path: Path) -> None:
        self._live("sync_folder")
        super().sync_folder(path)

    def remove(self, path: Path) -> None:
        self._live("remove")
        super().remove(path)

    def _live(self, operation: str) -> None:
        self.lives -= 1
        if self.lives < 0:
            raise Killed
        self.operations.append(operation)
