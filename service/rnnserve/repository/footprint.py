"""What a model's folder looks like from outside: a change is seen without reading a file."""

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rnnserve.repository.tree import model_names, versions

FileSigns = tuple[str, int, int, int]
"""A file's name, and its inode, size in bytes and time of change in ns."""


@dataclass(frozen=True)
class Footprint:
    """Of one model. Equal ones mean: nothing was written in between."""

    shared: frozenset[FileSigns]
    """What all versions depend on: the configuration, initial states."""
    versions: Mapping[int, frozenset[FileSigns]]

    def changed_versions(self, before: "Footprint") -> set[int]:
        """Those that are not as they were, or were not there; all where what they share is not."""
        if self.shared != before.shared:
            return set(self.versions)
        return {
            version
            for version, signs in self.versions.items()
            if signs != before.versions.get(version)
        }


NOTHING = Footprint(frozenset(), {})
"""Of a folder that isn't there."""


def footprints(repository: Path) -> dict[str, Footprint]:
    """Of every folder that may be a model's. Raises OperatorError when there is no repository."""
    return {name: footprint(repository / name) for name in model_names(repository)}


def footprint(folder: Path) -> Footprint:
    """Of one model's folder. What vanishes under the eye is not there."""
    try:
        numbers = versions(folder)
        names = os.listdir(folder)
    except OSError:
        return NOTHING
    shared: set[FileSigns] = set()
    for name in names:
        if not name.isdecimal() and not name.startswith("."):
            shared |= _signs(folder / name)
    return Footprint(
        frozenset(shared),
        {number: frozenset(_signs(folder / str(number))) for number in numbers},
    )


def _signs(path: Path) -> set[FileSigns]:
    """Of a file, or of those in a folder; links are followed, since a swapped one is a change."""
    try:
        found = path.stat()
        if not stat.S_ISDIR(found.st_mode):
            return {(path.name, found.st_ino, found.st_size, found.st_mtime_ns)}
        inside = [path / name for name in os.listdir(path) if not name.startswith(".")]
    except OSError:
        return set()
    signs: set[FileSigns] = set()
    for file in inside:
        try:
            found = file.stat()
        except OSError:
            continue
        signs.add((f"{path.name}/{file.name}", found.st_ino, found.st_size, found.st_mtime_ns))
    return signs
