"""From a repository on disk to models ready to run."""

import logging
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass

from rnnserve.engine.backlog import Backlog
from rnnserve.engine.batcher import BatchLimits
from rnnserve.engine.meter import Meter
from rnnserve.engine.model import Model
from rnnserve.engine.runner import Runner
from rnnserve.engine.ticker import Ticker
from rnnserve.engine.trial import costs_of, drawing_of
from rnnserve.errors import ModelProblem, OperatorError
from rnnserve.repository.tokenizer import Tokenizer
from rnnserve.repository.tree import BrokenModel, ModelVersion, newest_versions, read_version
from rnnserve.settings import ServeSettings
from rnnserve.wire.catalogue import Entry

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Loaded:
    """Everything that came out of one look at the repository."""

    models: dict[str, Model]
    tickers: dict[str, Ticker]
    entries: list[Entry]
    tokenizers: dict[str, Tokenizer]
    broken: list[BrokenModel]


def load(settings: ServeSettings, backlog: Backlog, meter: Meter, executor: Executor) -> Loaded:
    """Load the newest version of every model; a broken one doesn't keep the others from serving.

    Raises OperatorError when there is no repository or nothing in it can be served.
    """
    loaded = Loaded({}, {}, [], {}, [])
    for name, version in newest_versions(settings.repository):
        try:
            found = read_version(settings.repository, name, version)
            ticker = Ticker(executor, settings.max_stall_ms / 1e3)
            model = _build(settings, found, backlog, meter, ticker.wake)
            loaded.models[name], loaded.tickers[name] = model, ticker
            loaded.entries.append(_entry(settings, found, model))
            if found.tokenizer:
                loaded.tokenizers[name] = found.tokenizer
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


def _build(
    settings: ServeSettings,
    found: ModelVersion,
    backlog: Backlog,
    meter: Meter,
    wake: Callable[[], None],
) -> Model:
    spec = found.spec
    runner = Runner(spec, found.graph)
    try:
        costs = costs_of(
            spec,
            runner.run,
            max_rows=min(settings.max_batch, spec.max_batch),
            max_block_steps=settings.max_block_steps,
            max_block_s=settings.max_block_ms / 1e3,
        )
    except Exception as error:
        raise ModelProblem(
            f"{spec.name}/{spec.version} fails on zeros; the log says how"
        ) from error
    logger.info(
        "model %s/%d: %d bytes of carry a session, %d rows at most",
        spec.name,
        spec.version,
        spec.carry_bytes,
        costs.max_rows,
    )
    carried = settings.max_carry_bytes // max(1, spec.carry_bytes)
    return Model(
        spec,
        runner.run,
        slots=min(settings.max_sessions, carried),
        limits=BatchLimits(costs.max_rows, settings.max_block_steps),
        backlog=backlog,
        meter=meter,
        costs=costs,
        draw_s=drawing_of(spec),
        wake=wake,
        fingerprint=found.fingerprint,
    )


def _entry(settings: ServeSettings, found: ModelVersion, model: Model) -> Entry:
    return Entry(
        found.spec,
        found.fingerprint,
        found.card_json,
        found.tokenizer.json if found.tokenizer else "",
        model.costs,
        settings.max_stall_ms / 1e3,
    )
