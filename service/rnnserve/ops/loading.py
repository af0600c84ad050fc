"""From a repository on disk to models ready to run."""

import logging
from dataclasses import dataclass

from rnnserve.engine.batcher import BatchLimits
from rnnserve.engine.meter import Meter
from rnnserve.engine.model import Model
from rnnserve.engine.runner import Runner
from rnnserve.errors import ModelProblem, OperatorError
from rnnserve.repository.tokenizer import Tokenizer
from rnnserve.repository.tree import BrokenModel, newest_versions, read_version
from rnnserve.settings import ServeSettings
from rnnserve.wire.catalogue import Entry

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Loaded:
    """Everything that came out of one look at the repository."""

    models: dict[str, Model]
    entries: list[Entry]
    tokenizers: dict[str, Tokenizer]
    broken: list[BrokenModel]


def load(settings: ServeSettings, meter: Meter) -> Loaded:
    """Load the newest version of every model; a broken one doesn't keep the others from serving.

    Raises OperatorError when there is no repository or nothing in it can be served.
    """
    loaded = Loaded({}, [], {}, [])
    for name, version in newest_versions(settings.repository):
        try:
            _load_one(settings, meter, name, version, loaded)
        except (ModelProblem, OSError, ValueError, MemoryError) as problem:
            logger.error("model %s is not served: %s", name, problem, exc_info=problem.__cause__)
            known = isinstance(problem, ModelProblem)
            text = str(problem) if known else "it could not be read; the log says why"
            loaded.broken.append(BrokenModel(name, version, text))
    if not loaded.models:
        problems = "".join(f"\n  {broken.name}: {broken.problem}" for broken in loaded.broken)
        raise OperatorError(
            f"no model in {settings.repository} can be served{':' if problems else ''}{problems}\n"
            "Put one there with `rnnserve export`."
        )
    return loaded


def _load_one(
    settings: ServeSettings, meter: Meter, name: str, version: int, loaded: Loaded
) -> None:
    found = read_version(settings.repository, name, version)
    limits = BatchLimits(
        max_rows=min(settings.max_batch, found.spec.max_batch),
        max_block_steps=settings.max_block_steps,
        max_waiting_steps=settings.max_waiting_steps,
    )
    runner = Runner(found.spec, found.graph)
    model = Model(found.spec, runner.run, slots=settings.max_sessions, limits=limits, meter=meter)
    try:
        model.warm_up()
    except Exception as error:
        raise ModelProblem(f"{name}/{version} fails on zeros; the log says how") from error
    loaded.models[name] = model
    if found.tokenizer:
        loaded.tokenizers[name] = found.tokenizer
    tokenizer_json = found.tokenizer.json if found.tokenizer else ""
    loaded.entries.append(Entry(found.spec, found.fingerprint, found.card_json, tokenizer_json))
    logger.info("model %s/%d: %d bytes of carry a session", name, version, found.spec.carry_bytes)
