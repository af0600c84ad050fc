"""Models by what a request calls them, and the sentences for those that aren't there."""

import re
from collections.abc import Sequence

from rnnserve.engine.engine import Engine
from rnnserve.engine.model import Model
from rnnserve.errors import Reason, Refusal
from rnnserve.wire.inference.repository import Repository
from rnnserve.wire.inference.texts import (
    bad_version,
    no_version_ready,
    unknown_model,
    version_not_ready,
)

VERSION = re.compile(r"[0-9]{1,18}")


class Models:
    """Looks up; owns nothing."""

    def __init__(self, engine: Engine, repository: Repository) -> None:
        self._engine = engine
        self._repository = repository

    def version(self, text: str) -> int:
        """The version that a request names; 0: none. Raises Refusal (bad_parameter)."""
        if not text:
            return 0
        if not VERSION.fullmatch(text) or not int(text):
            raise bad_version(text)
        return int(text)

    def find(self, name: str, version: str) -> Model:
        """Raises Refusal: bad_parameter, unknown_model, model_not_ready."""
        number = self.version(version)
        try:
            return self._engine.model(name, number)
        except Refusal as refusal:
            raise self.unknown(name, number, refusal) from None

    def all(self, name: str, version: str) -> Sequence[Model]:
        """Every version that takes new sessions: of all models where no name is given, of one
        where no version is. Raises Refusal as `find` does."""
        served = self._engine.served
        if version:
            return [self.find(name, version)]
        names = [name] if name else served.names()
        if name:
            self.find(name, "")
        return [served.find(each, number) for each in names for number in served.versions(each)]

    def unknown(self, name: str, version: int, refusal: Refusal) -> Refusal:
        """Why a model isn't found, as Triton tells it."""
        if refusal.reason is not Reason.UNKNOWN_MODEL:
            return refusal
        known = {entry.version for entry in self._repository.index() if entry.name == name}
        if not known:
            return unknown_model(name)
        if not version:
            return no_version_ready(name)
        if version in known:
            return version_not_ready(name, str(version))
        return unknown_model(name, str(version))
