"""Putting a proven model into the repository, whole or not at all.

    REPOSITORY/MODEL/config.pbtxt       shared by all versions, so its interface never changes
    REPOSITORY/MODEL/VERSION/...        the newest version plus one; never written again

A new model arrives by one rename of its folder, another version by one rename of its own. Exports
that run at once each get a version: a rename onto what another has just published fails, and the
next number is tried.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from rnnserve.errors import ModelProblem
from rnnserve.repository.config import format_config, parse_config
from rnnserve.repository.spec import ModelSpec
from rnnserve.repository.tree import CONFIG, GRAPH, MODEL_NAME, TOKENIZER, versions
from rnnserve_export.disk import Disk, hidden_path, remove_stale
from rnnserve_export.errors import ExportError, OtherInterface, PublishError

DISK = Disk()


@dataclass(frozen=True)
class Published:
    """Where a model stands in the repository."""

    folder: Path
    version: int
    is_new: bool
    """False when the newest version was this very model already."""


def checked_name(name: str, advice: str = "choose another") -> str:
    """The name, if a model may have it. Raises ExportError, which ends with the advice."""
    if not MODEL_NAME.fullmatch(name):
        raise ExportError(
            f"{name!r} is no model name: letters, digits, '_', '-' and '.', at most 128, not "
            f"beginning with '-' or '.'; {advice}"
        )
    return name


class ModelFolder:
    """One model's folder in a repository; it may not exist yet."""

    def __init__(self, repository: Path, name: str) -> None:
        self.repository = repository
        self.path = repository / name
        self.config = self.path / CONFIG

    def described(self) -> ModelSpec | None:
        """What `config.pbtxt` says; None where there is none. Raises PublishError: unreadable."""
        try:
            text = self.config.read_text(encoding="utf-8")
            return parse_config(text, self.path.name, version=1)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (ModelProblem, UnicodeDecodeError) as error:
            raise PublishError(
                f"{self.config} can't be read ({error}): mend it, or choose another --name"
            ) from None

    def check_interface(self, spec: ModelSpec) -> None:
        """Raises OtherInterface when the versions here have other inputs, outputs or carry."""
        there = self.described()
        if there is None or _same_interface(there, spec):
            return
        raise OtherInterface(
            f"{self.path} holds a model with another interface, and all versions of a model share "
            f"one: it is {_interface(there)}; this one is {_interface(spec)}. "
            "Choose another name with --name"
        )

    def find(self, files: Mapping[str, bytes]) -> Published | None:
        """The newest version, when its graph and tokenizer are those of `files`.

        A model that has no tokenizer there must have none here.
        """
        newest = self.newest()
        folder = self.path / str(newest)
        for name in (GRAPH, TOKENIZER):
            try:
                there = (folder / name).read_bytes()
            except FileNotFoundError:
                there = None
            except OSError:
                return None
            if there != files.get(name):
                return None
        return Published(folder, newest, is_new=False)

    def newest(self) -> int:
        """The newest version; 0: there is none."""
        return max(versions(self.path), default=0) if self.path.is_dir() else 0


def publish(
    repository: Path,
    spec: ModelSpec,
    files: Mapping[str, bytes],
    *,
    force: bool = False,
    disk: Disk = DISK,
) -> Published:
    """Publish `files` (by name, with at least the graph) as the next version.

    Publishes nothing when the newest version has the same graph and tokenizer, unless `force`.
    `config.pbtxt` is written for a new model, and again when `spec.max_batch` differs from it.
    Raises OtherInterface; PublishError when the disk refuses.
    """
    model = ModelFolder(repository, spec.name)
    try:
        repository.mkdir(parents=True, exist_ok=True)
        # Beside its target, so that the rename stays on one file system.
        shelf = model.path if model.config.is_file() else repository
        for folder in {repository, shelf}:
            remove_stale(folder, disk)
        stage = hidden_path(shelf)
        try:
            _write(stage, spec, files, disk)
            published = _move(stage, model, spec, files, force, disk)
            renew_config(model, spec, disk)
        finally:
            disk.remove(stage)
    except OSError as error:
        raise PublishError(f"can't publish in {repository}: {error}") from error
    return published


def renew_config(model: ModelFolder, spec: ModelSpec, disk: Disk = DISK) -> bool:
    """Whether `config.pbtxt` had to be replaced because its max_batch_size differs from `spec`.

    Where it doesn't differ the file stays as it is, with whatever somebody has tuned in it.
    """
    there = model.described()
    if there is None or there.max_batch == spec.max_batch:
        return False
    draft = hidden_path(model.path)
    try:
        disk.write(draft, format_config(spec).encode())
        disk.replace_file(draft, model.config)
        disk.sync_folder(model.path)
    finally:
        disk.remove(draft)
    return True


def _write(stage: Path, spec: ModelSpec, files: Mapping[str, bytes], disk: Disk) -> None:
    """Lay out below `stage` the folder of a model that has one version."""
    folder = stage / spec.name
    for path in (stage, folder, folder / "1"):
        disk.make_folder(path)
    disk.write(folder / CONFIG, format_config(spec).encode())
    for name, contents in files.items():
        disk.write(folder / "1" / name, contents)
    disk.sync_folder(folder / "1")
    disk.sync_folder(folder)


def _move(
    stage: Path,
    model: ModelFolder,
    spec: ModelSpec,
    files: Mapping[str, bytes],
    force: bool,
    disk: Disk,
) -> Published:
    """Rename what lies in `stage` to where readers look."""
    staged = stage / spec.name
    if not model.config.is_file():
        if disk.rename_folder(staged, model.path):
            disk.sync_folder(model.repository)
            return Published(model.path / "1", 1, is_new=True)
        # Either somebody else's folder, or another export was faster with a model of this name.
        if not model.config.is_file():
            raise PublishError(
                f"{model.path} is there but has no {CONFIG}: move it away, or choose another --name"
            )
    model.check_interface(spec)
    version = 0
    while force or (found := model.find(files)) is None:
        # Something that is no version may stand under a number too.
        version = max(version, model.newest()) + 1
        if disk.rename_folder(staged / "1", model.path / str(version)):
            disk.sync_folder(model.path)
            return Published(model.path / str(version), version, is_new=True)
    return found


def _same_interface(one: ModelSpec, other: ModelSpec) -> bool:
    """Whether both can share a `config.pbtxt`, the size of a batch aside."""
    return one == replace(other, name=one.name, version=one.version, max_batch=one.max_batch)


def _interface(spec: ModelSpec) -> str:
    def names(entries: list[tuple[str, tuple[int, ...]]]) -> str:
        return ", ".join(f"{name}{list(shape)}" for name, shape in entries)

    taken = names([(t.name, t.shape) for t in spec.inputs])
    limits = "".join(f" below {t.high}" for t in spec.inputs if t.high is not None)
    given = names([(t.name, t.shape) for t in spec.outputs])
    carry = names([(c.input_name, c.shape) for c in spec.carry])
    return f"{taken}{limits} -> {given} with the carry {carry}"
