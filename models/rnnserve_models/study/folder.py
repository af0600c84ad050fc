"""A study's folder: what stands in it, and how each file is written whole or not at all.

    FOLDER/report.md, *.png             for people; written anew whenever the study ends
    FOLDER/*.csv                        every result, for programs
    FOLDER/work/plan.json               what is to be done; never changed
    FOLDER/work/serving.json            what serving costs, once it has been measured
    FOLDER/work/fits/NAME.json          one for every fit that is done

One process works in a folder at a time.  Whatever is there counts as done, so a study that was
stopped or killed goes on without it.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rnnserve_models.study.errors import StudyError
from rnnserve_models.study.fit import Fit, Result
from rnnserve_models.study.plan import Plan
from rnnserve_models.study.serving import ServingCost

_PARTIAL = ".partial"


class StudyFolder:
    """The files of a study; none of them has to exist."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.report = path / "report.md"
        self._work = path / "work"
        self._fits = self._work / "fits"
        self._plan, self._serving = self._work / "plan.json", self._work / "serving.json"

    @contextmanager
    def held(self) -> Iterator[None]:
        """While entered, no other process may work here.

        Raises:
            StudyError: one does, or the folder holds something else, or the disk refuses.
        """
        if self.path.exists() and not self._work.is_dir() and self._strangers():
            raise StudyError(
                f"{self.path} holds other files ({self._strangers()[0]}): give the study its own"
                " folder"
            )
        try:
            self._fits.mkdir(parents=True, exist_ok=True)
            lock = (self._work / "lock").open("w")
        except OSError as error:
            raise StudyError(
                f"{self.path} cannot hold a study ({error.strerror}): choose another folder"
            ) from error
        with lock:
            try:
                # The system gives it back whatever becomes of this process.
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise StudyError(
                    f"another process works on the study in {self.path}: wait for it, or stop it"
                ) from None
            yield

    def _strangers(self) -> list[str]:
        return sorted(path.name for path in self.path.iterdir()) if self.path.is_dir() else []

    def plan(self) -> Plan | None:
        """What is to be done; None where nothing has been planned yet."""
        plain = self._read(self._plan)
        return None if plain is None else Plan.from_dict(plain)

    def save_plan(self, plan: Plan) -> None:
        self.write(self._plan, _json(plan.as_dict()))

    def results(self, plan: Plan) -> dict[str, Result]:
        """What is done of the plan, by the fits' names."""
        found = {fit.name: self._read(self._path_of(fit)) for fit in plan.fits}
        return {name: Result.from_dict(plain) for name, plain in found.items() if plain is not None}

    def save_result(self, result: Result) -> None:
        self.write(self._path_of(result.fit), _json(result.as_dict()))

    def serving(self) -> list[ServingCost] | None:
        """What serving costs; None where it hasn't been measured yet."""
        plain = self._read(self._serving)
        return None if plain is None else [ServingCost.from_dict(entry) for entry in plain]

    def save_serving(self, costs: list[ServingCost]) -> None:
        self.write(self._serving, _json([cost.as_dict() for cost in costs]))

    def write(self, path: Path, contents: str | bytes) -> None:
        """A file with these contents, or the one from before.

        Raises:
            StudyError: the disk refuses.
        """
        partial = path.with_name(path.name + _PARTIAL)
        try:
            with partial.open("wb") as file:
                file.write(contents.encode() if isinstance(contents, str) else contents)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        except OSError as error:
            raise StudyError(
                f"{path} cannot be written ({error.strerror}): make room there; what is finished"
                " stays, and the same command goes on"
            ) from error

    def _path_of(self, fit: Fit) -> Path:
        return self._fits / f"{fit.name}.json"

    def _read(self, path: Path) -> Any:
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise StudyError(f"{path} is unreadable: remove it, and it is done again") from error


def _json(plain: object) -> str:
    return json.dumps(plain, indent=1) + "\n"
