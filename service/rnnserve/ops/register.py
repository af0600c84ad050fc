"""What is told of every model that was found, whatever became of it."""

import logging
from collections.abc import Iterable, Sequence

from rnnserve.errors import ModelProblem
from rnnserve.repository.tree import BrokenModel
from rnnserve.wire.inference.repository import Indexed, State

logger = logging.getLogger(__name__)

UNLOADED = "unloaded"


class Register:
    """By name and version. The one owner of what is told."""

    def __init__(self) -> None:
        self._told: dict[str, dict[int, Indexed]] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._told

    def names(self) -> list[str]:
        """Every model that was found."""
        return sorted(self._told)

    def of(self, name: str) -> list[Indexed]:
        """What is told of one model's versions."""
        return list(self._told.get(name, {}).values())

    def all(self) -> Sequence[Indexed]:
        """What is told of all, by name."""
        return [entry for name in self.names() for entry in self.of(name)]

    def broken(self) -> list[BrokenModel]:
        """Every version that could not be loaded as it lies there now, served before or not."""
        return [
            BrokenModel(entry.name, entry.version, entry.reason)
            for entry in self.all()
            if entry.reason not in ("", UNLOADED) and entry.state is not State.LOADING
        ]

    def ailing(self, name: str) -> set[int]:
        """The versions of a model that could not be loaded, or not again."""
        return {one.version for one in self.of(name) if one.reason and one.reason != UNLOADED}

    def note(self, name: str, told: Iterable[Indexed]) -> None:
        """From now on this is told of the model."""
        self._told[name] = {entry.version: entry for entry in told}

    def note_unloaded(self, name: str) -> None:
        """None of its versions is served any more, as was wished."""
        self.note(
            name,
            [Indexed(name, entry.version, State.UNAVAILABLE, UNLOADED) for entry in self.of(name)],
        )

    def forget(self, name: str) -> None:
        """Nothing is told of the model: it isn't there any more."""
        self._told.pop(name, None)


def unavailable(name: str, version: int, problem: Exception) -> Indexed:
    """A version that can't be served; the log says more than clients are told."""
    known = isinstance(problem, ModelProblem)
    cause = problem.__cause__ if known else problem
    logger.error("model %r can't be loaded: %s", name, problem, exc_info=cause)
    text = str(problem) if known else "it could not be read; the log says why"
    return Indexed(printable(name), version, State.UNAVAILABLE, printable(text))


def served_still(told: Iterable[Indexed], name: str, served: Iterable[int]) -> list[Indexed]:
    """What is told of a model whose versions `served` go on: one that could not be loaded again is
    ready as it was."""
    entries = {entry.version: entry for entry in told}
    for version in served:
        entry = entries.get(version)
        if entry is None:
            entries[version] = Indexed(name, version, State.READY, "")
        elif entry.state is not State.READY:
            reason = f"served as it was; loading it again failed: {entry.reason}"
            entries[version] = Indexed(name, version, State.READY, reason)
    return [entries[version] for version in sorted(entries)]


def printable(text: str) -> str:
    """Folders may be called what no message can carry."""
    return text.encode("utf-8", "backslashreplace").decode()
