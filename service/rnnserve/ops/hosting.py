"""The models of this process: found on disk, loaded, ticked, replaced, and let go.

A version that is replaced or unloaded takes no new sessions and goes on with those it has; when the
last has ended, its ticker stops. A version that can't be loaded leaves the one that is served.
"""

import asyncio
import contextlib
import logging
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import dataclass, replace

from rnnserve.engine.engine import Engine
from rnnserve.engine.model import Model
from rnnserve.engine.served import unknown_model
from rnnserve.errors import ModelProblem, OperatorError, Reason, Refusal
from rnnserve.ops.loading import Loaded, Loader
from rnnserve.ops.metrics import Metrics
from rnnserve.ops.register import Register, printable, served_still, unavailable
from rnnserve.repository.footprint import NOTHING, Footprint, footprint
from rnnserve.repository.tokenizer import Tokenizer
from rnnserve.repository.tree import BrokenModel, model_names, wanted_versions
from rnnserve.settings import ServeSettings
from rnnserve.triton import model_config_pb2 as triton
from rnnserve.wire.catalogue import Entry
from rnnserve.wire.inference.repository import Indexed, State

logger = logging.getLogger(__name__)


@dataclass(eq=False)
class _Hosted:
    loaded: Loaded
    task: asyncio.Task[None] | None = None


class Hosting:
    """The one owner of which versions are loaded, and of their tickers' tasks."""

    def __init__(self, settings: ServeSettings, loader: Loader, metrics: Metrics) -> None:
        self._settings = settings
        self._loader = loader
        self._metrics = metrics
        self._hosted: dict[Model, _Hosted] = {}
        self._register = Register()
        self.footprints: dict[str, Footprint] = {}
        """What each model's folder looked like when it was last read."""
        self._engine: Engine | None = None
        self._lock = asyncio.Lock()
        self._loads: set[asyncio.Task[None]] = set()
        self.tokenizers: dict[Model, Tokenizer] = {}
        self.failed: asyncio.Event = asyncio.Event()
        """Set when a ticker has ended that must not; `raise_failure` then says why."""

    def load_all(self) -> list[Model]:
        """Load every version that the repository wants served; a broken one doesn't keep the others
        from it.

        Raises OperatorError when there is no repository or nothing in it can be served.
        """
        for name in model_names(self._settings.repository):
            models, told = self._load_model(name, frozenset())
            self._register.note(name, told)
            for loaded in models:
                self._take(loaded)
        if not self._hosted and not self._settings.model_control:
            problems = "".join(f"\n  {broken.name}: {broken.problem}" for broken in self.broken())
            raise OperatorError(
                f"no model in {self._settings.repository} can be served"
                f"{':' if problems else ''}{problems}\nPut one there with `rnnserve export`."
            )
        return list(self._hosted)

    def start(self, engine: Engine) -> None:
        """Tick every model from now on."""
        self._engine = engine
        for hosted in self._hosted.values():
            self._tick(hosted)

    async def stop(self) -> None:
        """End every ticker; what still waits is answered."""
        tasks = [hosted.task for hosted in self._hosted.values() if hosted.task is not None]
        tasks += self._loads
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def raise_failure(self) -> None:
        """Raise what ended a ticker."""
        for hosted in self._hosted.values():
            if hosted.task is not None and hosted.task.done() and not hosted.task.cancelled():
                hosted.task.result()

    def retire(self) -> None:
        """Let go of the versions that take no sessions and have none left."""
        engine = self._running()
        for model in engine.served.retiring:
            if model.movers():
                continue
            engine.drop(model)
            self.tokenizers.pop(model, None)
            task = self._hosted.pop(model).task
            if task is not None:
                task.cancel()
            logger.info("model %s/%d is gone", model.spec.name, model.spec.version)
            self._forget_series(model.spec.name)

    # What clients are told, and may ask for.

    def entries(self) -> Iterable[Entry]:
        """Every version that takes new sessions, by name and version."""
        served = self._running().served
        for name in served.names():
            for version in served.versions(name):
                yield self._entry(served.find(name, version))

    def broken(self) -> list[BrokenModel]:
        """Every version that could not be loaded as it lies there now."""
        return self._register.broken()

    def index(self) -> Sequence[Indexed]:
        """Every version that was found, whatever became of it."""
        return self._register.all()

    def config(self, model: Model) -> triton.ModelConfig:
        """The model's configuration as it stands in its file; the caller's own copy."""
        copy = triton.ModelConfig()
        copy.CopyFrom(self._hosted[model].loaded.found.config.message)
        return copy

    async def load(self, name: str) -> None:
        """Load a model anew from disk. Raises Refusal: not_offered, unknown_model, and
        model_not_ready where a version can't be loaded; what was served goes on then."""
        self._check_control()
        await self._to_its_end(self._load(name))

    async def unload(self, name: str) -> None:
        """Let a model take no new sessions. Raises Refusal: not_offered, unknown_model."""
        self._check_control()
        async with self._lock:
            if name not in self._register:
                raise unknown_model(name, 0)
            self._withdraw(name)
            self._register.note_unloaded(name)

    def ailing(self) -> set[str]:
        """Models of which something could not be loaded."""
        return {name for name in self._register.names() if self._register.ailing(name)}

    async def follow(self, name: str, now: Footprint) -> None:
        """Serve a model as its folder stands: load what has changed, let go what has gone.

        What can't be loaded is told, and leaves what is served.
        """
        changed = now.changed_versions(self.footprints.get(name, NOTHING))
        kept = set(now.versions) - changed - self._register.ailing(name)
        with contextlib.suppress(Refusal):
            await self._to_its_end(self._load(name, frozenset(kept)))

    async def forget(self, name: str) -> None:
        """A model isn't there any more: it takes no new sessions, and nothing is told of it."""
        async with self._lock:
            self._withdraw(name)
            self._register.forget(name)
            self.footprints.pop(name, None)
            self._forget_series(name)
        logger.info("model %s has left the repository", printable(name))

    async def _to_its_end(self, load: Coroutine[None, None, None]) -> None:
        # A thread can't be stopped: who is cancelled leaves the loading to come to its end.
        task = asyncio.create_task(load)
        self._loads.add(task)
        task.add_done_callback(self._loaded)
        await asyncio.shield(task)

    async def _load(self, name: str, kept: frozenset[int] = frozenset()) -> None:
        """Load a model's versions but those to be kept, where they are served."""
        async with self._lock:
            if name not in await asyncio.to_thread(model_names, self._settings.repository):
                raise unknown_model(name, 0)
            before = self._register.of(name)
            kept &= set(self._running().served.versions(name))
            self._register.note(name, [replace(entry, state=State.LOADING) for entry in before])
            try:
                loaded, told = await asyncio.to_thread(self._load_model, name, kept)
            except BaseException:
                self._register.note(name, before)
                raise
            self._replace(name, loaded, told)
            served = self._running().served.versions(name)
            self._register.note(name, served_still(told, name, served))
        if problems := [entry for entry in told if entry.state is State.UNAVAILABLE]:
            raise Refusal(
                Reason.MODEL_NOT_READY,
                "; ".join(f"version {entry.version}: {entry.reason}" for entry in problems),
            )

    def _loaded(self, task: asyncio.Task[None]) -> None:
        self._loads.discard(task)
        if not task.cancelled():
            # Whoever asked may have gone.
            task.exception()

    def _check_control(self) -> None:
        if not self._settings.model_control:
            raise Refusal(
                Reason.NOT_OFFERED,
                "clients may not load and unload models here; --model-control lets them",
            )

    def _load_model(self, name: str, kept: frozenset[int]) -> tuple[list[Loaded], list[Indexed]]:
        """The versions of a model that can be loaded, but for those to be kept, and what is told of
        all of them."""
        loaded, told = [], []
        # Looked at before it is read: what is written meanwhile is a change.
        self.footprints[name] = footprint(self._settings.repository / name)
        try:
            versions = wanted_versions(self._settings.repository, name)
        except Exception as problem:
            versions = []
            told.append(unavailable(name, 0, problem))
        for version in versions:
            try:
                if version not in kept:
                    loaded.append(self._loader.load(name, version))
                told.append(Indexed(name, version, State.READY, ""))
            except ModelProblem as problem:
                told.append(unavailable(name, version, problem))
        return loaded, told

    def _replace(self, name: str, loaded: list[Loaded], told: list[Indexed]) -> None:
        served = self._running().served
        for one in loaded:
            self._tick(self._take(one))
            served.add(one.model)
        if any(entry.state is not State.READY for entry in told):
            # Whatever was served is better than what is missing.
            return
        for version in set(served.versions(name)) - {entry.version for entry in told}:
            served.withdraw(name, version)

    def _forget_series(self, name: str) -> None:
        """A model that is gone from the disk and has no sessions any more is counted no longer."""
        if name not in self._register and all(model.spec.name != name for model in self._hosted):
            self._metrics.forget(name)

    def _withdraw(self, name: str) -> None:
        served = self._running().served
        for version in served.versions(name):
            served.withdraw(name, version)

    def _take(self, loaded: Loaded) -> _Hosted:
        model = loaded.model
        hosted = self._hosted[model] = _Hosted(loaded)
        if loaded.found.tokenizer is not None:
            self.tokenizers[model] = loaded.found.tokenizer
        self._metrics.expect(model.spec.name, generates=model.spec.predicts_tokens)
        return hosted

    def _tick(self, hosted: _Hosted) -> None:
        hosted.task = asyncio.create_task(hosted.loaded.ticker.run(hosted.loaded.model))
        hosted.task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            self.failed.set()

    def _entry(self, model: Model) -> Entry:
        found = self._hosted[model].loaded.found
        return Entry(
            found.spec,
            found.fingerprint,
            found.card_json,
            found.tokenizer.json if found.tokenizer else "",
            model.costs,
            self._settings.max_stall_ms / 1e3,
        )

    def _running(self) -> Engine:
        assert self._engine is not None, "hosting begins with start()"
        return self._engine
