"""Contestants without a server: they run in the worker on the server's core."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from rnnserve_bench import raw as limit
from rnnserve_bench.contest import Run
from rnnserve_bench.errors import BenchProblem
from rnnserve_bench.load import Span
from rnnserve_bench.models import BenchModel
from rnnserve_bench.sample import Latency, Sample
from rnnserve_bench.terms import Terms

ENGINE = "rnnserve_bench.in_process"
"""`measure(repository, model, rows, warm_s, measure_s)` steps `rows` sessions of the engine again
and again, one step each; it returns for every such tick its seconds divided by `rows`."""


def raw(terms: Terms, model: BenchModel, rows: int, block_steps: int = 1) -> Run:
    """onnxruntime in a loop."""
    folder = terms.rig.build(model)
    return lambda: terms.on_server_core(limit.measure, folder, rows, block_steps, terms.span)


def eager(terms: Terms, model: BenchModel, rows: int, block_steps: int = 1) -> Run:
    """torch in a loop."""
    return lambda: terms.on_server_core(_eager, model, rows, block_steps, terms.span)


def engine(terms: Terms, model: BenchModel, rows: int) -> Run:
    """rnnserve's engine without gRPC. Raises BenchProblem where there is no measure of it."""
    _engine_measure()
    repository = terms.rig.repository(model)
    return lambda: terms.on_server_core(_engine, repository, model.name, rows, terms.span)


def _eager(model: BenchModel, rows: int, block_steps: int, span: Span) -> Sample:
    # Imported over there alone: torch takes seconds and hundreds of megabytes.
    from rnnserve_bench import eager

    return eager.measure(model, rows, block_steps, span)


def _engine(repository: Path, model: str, rows: int, span: Span) -> Sample:
    steps_s = _engine_measure()(repository, model, rows, span.warm_s, span.measure_s)
    return Sample(
        steps=rows * len(steps_s),
        messages=0,
        wall_s=rows * sum(steps_s),
        latency=Latency.of([step_s * rows for step_s in steps_s]),
    )


def _engine_measure() -> Callable[..., list[float]]:
    try:
        measure: Callable[..., list[float]] = import_module(ENGINE).measure
    except ModuleNotFoundError:
        raise BenchProblem(f"there is no {ENGINE}") from None
    return measure
