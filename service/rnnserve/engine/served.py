"""Which model versions take new sessions, and which others still have some."""

from collections.abc import Iterable, Iterator

from rnnserve.engine.model import Model
from rnnserve.errors import Reason, Refusal


class Served:
    """Models by name and version. The one owner of who is found by a name."""

    def __init__(self, models: Iterable[Model] = ()) -> None:
        self._models: dict[str, dict[int, Model]] = {}
        self._retiring: list[Model] = []
        for model in models:
            self.add(model)

    def __iter__(self) -> Iterator[Model]:
        """All of them, those too that take no new sessions."""
        for versions in self._models.values():
            yield from versions.values()
        yield from self._retiring

    @property
    def retiring(self) -> tuple[Model, ...]:
        """Those that take no new sessions, and may still have some."""
        return tuple(self._retiring)

    def names(self) -> list[str]:
        """Models of which a version takes new sessions."""
        return sorted(self._models)

    def versions(self, name: str) -> list[int]:
        """The versions of a model that take new sessions, ascending."""
        return sorted(self._models.get(name, ()))

    def find(self, name: str, version: int = 0) -> Model:
        """The model of that name; version 0 is the newest. Raises Refusal."""
        if not name:
            raise Refusal(Reason.MISSING_FIELD, "no model is named", field="model")
        versions = self._models.get(name)
        model = versions.get(version or max(versions)) if versions else None
        if model is None:
            raise unknown_model(name, version)
        return model

    def add(self, model: Model) -> None:
        """Let new sessions find this one; one of the same name and version retires."""
        spec = model.spec
        self.withdraw(spec.name, spec.version)
        self._models.setdefault(spec.name, {})[spec.version] = model

    def withdraw(self, name: str, version: int) -> None:
        """Let no new session find it: it retires, and its sessions go on."""
        versions = self._models.get(name, {})
        model = versions.pop(version, None)
        if model is not None:
            self._retiring.append(model)
        if not versions:
            self._models.pop(name, None)

    def drop(self, model: Model) -> None:
        """A model that has retired is gone: it has no sessions any more."""
        self._retiring.remove(model)


def unknown_model(name: str, version: int) -> Refusal:
    """No such model. The name is cut: it comes from outside and goes into a header."""
    wanted = f"{name[:80]!r}" + (f" version {version}" if version else "")
    return Refusal(Reason.UNKNOWN_MODEL, f"no model {wanted} is served; ListModels tells which are")
