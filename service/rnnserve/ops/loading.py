"""One version of a model, from its folder to something that runs."""

import logging
from concurrent.futures import Executor
from dataclasses import dataclass, replace

from rnnserve.engine.backlog import Backlog
from rnnserve.engine.batcher import BatchLimits
from rnnserve.engine.costs import Costs
from rnnserve.engine.meter import Meter
from rnnserve.engine.model import Model, Run
from rnnserve.engine.runner import Runner
from rnnserve.engine.ticker import Ticker
from rnnserve.engine.trial import costs_of, drawing_of, try_shapes
from rnnserve.errors import ModelProblem
from rnnserve.repository.spec import ModelSpec
from rnnserve.repository.tree import ModelVersion, read_version
from rnnserve.settings import ServeSettings

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Loaded:
    """A version that is ready to be served, and what is told of it."""

    model: Model
    ticker: Ticker
    found: ModelVersion


class Loader:
    """Loads versions; what all of them share. May be called from any thread."""

    def __init__(
        self, settings: ServeSettings, backlog: Backlog, meter: Meter, executor: Executor
    ) -> None:
        self._settings = settings
        self._backlog = backlog
        self._meter = meter
        self._executor = executor

    def load(self, name: str, version: int) -> Loaded:
        """Read a version, try it out and time it. Raises ModelProblem, fit to be shown."""
        try:
            found = read_version(self._settings.repository, name, version)
            return self._build(found)
        except ModelProblem:
            raise
        except Exception as error:
            # Whatever a folder holds, it stops no other model.
            raise ModelProblem("it could not be read; the log says why") from error

    def _build(self, found: ModelVersion) -> Loaded:
        settings = self._settings
        spec = replace(
            found.spec, idle_timeout_s=settings.idle_timeout_s or found.spec.idle_timeout_s
        )
        where = f"{spec.name}/{spec.version}"
        carried = settings.max_carry_bytes // max(1, spec.carry_bytes)
        if carried == 0:
            raise ModelProblem(
                f"{where}: a session carries {spec.carry_bytes} bytes, and --max-carry-bytes "
                f"allows {settings.max_carry_bytes} in all"
            )
        for note in found.config.notes:
            logger.info("model %s: changes no answer here: %s", where, note)
        run = Runner(spec, found.graph).run
        costs = self._try_out(spec, run)
        rows = costs.max_rows if costs else min(settings.max_batch, spec.max_batch)
        logger.info(
            "model %s: %d bytes of carry a session, %d rows at most", where, spec.carry_bytes, rows
        )
        ticker = Ticker(self._executor, settings.max_stall_ms / 1e3)
        model = Model(
            spec,
            run,
            slots=min(settings.max_sessions, carried),
            limits=BatchLimits(rows, settings.max_block_steps),
            backlog=self._backlog,
            meter=self._meter,
            costs=costs,
            draw_s=drawing_of(spec),
            wake=ticker.wake,
            fingerprint=found.fingerprint,
        )
        return Loaded(model, ticker, found)

    def _try_out(self, spec: ModelSpec, run: Run) -> Costs | None:
        """What runs cost; None where messages bring their shapes. Raises ModelProblem."""
        settings = self._settings
        where = f"{spec.name}/{spec.version}"
        try:
            if not spec.is_shaped:
                return costs_of(
                    spec,
                    run,
                    max_rows=min(settings.max_batch, spec.max_batch),
                    max_block_steps=settings.max_block_steps,
                    max_block_s=settings.max_block_ms / 1e3,
                )
            if not try_shapes(spec, run):
                logger.warning("model %s took no zeros of any size that was tried", where)
        except Exception as error:
            raise ModelProblem(f"{where} fails on zeros; the log says how") from error
        return None
