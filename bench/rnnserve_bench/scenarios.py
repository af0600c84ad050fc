"""What is measured: each scenario names its contestants."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from rnnserve_bench import alone, others, served
from rnnserve_bench.contest import Run
from rnnserve_bench.frame_load import FrameShape
from rnnserve_bench.mixed_load import Company
from rnnserve_bench.models import MAIN, PUBLISHED, TABLE, BenchModel
from rnnserve_bench.terms import Terms

RAW, ENGINE, BARE, OURS, TORCH = "raw", "engine", "bare wire", "rnnserve", "torch"
TRITON, TRITON_CALLS = "Triton, streams", "Triton, unary"
AS_SERVED = "raw, blocks as served"
ROWS = 64
CHUNK_STEPS = 64
FRAMES = (FrameShape(64, 1), FrameShape(64, 2), FrameShape(32, 2))
COMPANY = Company(streams=31, chunk_steps=256)
CURVE_ROWS = (1, 2, 4, 8, 16, 32, 64)
SHARED_STREAMS = 1
"""Over which Triton gets 64 sequences; over 4 it crashes now and then, over 64 at once."""

Enter = Callable[[Terms], Run]


@dataclass(frozen=True)
class Scenario:
    """A load and who takes part in it, on windows of `share` of the length."""

    name: str
    title: str
    entrants: Mapping[str, Enter]
    share: float = 1.0
    most_rounds: int = 1000
    retire: BenchModel | None = None
    """The model whose server is no longer needed after it."""


def _raw(rows: int, block_steps: int = 1, model: BenchModel = MAIN) -> Enter:
    return lambda terms: alone.raw(terms, model, rows, block_steps)


def _ours(streams: int, chunk_steps: int = 1, model: BenchModel = MAIN) -> Enter:
    return lambda terms: served.streams(terms, model, streams, chunk_steps)


def _bare(streams: int, chunk_steps: int = 1) -> Enter:
    return lambda terms: others.bare(terms, streams, chunk_steps)


def _frames(shape: FrameShape, model: BenchModel = MAIN) -> Enter:
    return lambda terms: served.frames(terms, model, shape)


def frame_name(contestant: str, shape: FrameShape) -> str:
    """How a contestant of the frames' scenario is called."""
    return f"{contestant}, {shape.in_flight} x {shape.rows}"


def _frame_entrants() -> dict[str, Enter]:
    entrants: dict[str, Enter] = {RAW: _raw(ROWS)}
    for shape in FRAMES:
        entrants[frame_name(BARE, shape)] = partial(others.bare_frames, shape=shape)
        entrants[frame_name(OURS, shape)] = _frames(shape)
    return entrants


def _model(model: BenchModel) -> Scenario:
    return Scenario(
        f"model-{model.name}",
        model.title,
        {
            f"{RAW}, batch 1": _raw(1, model=model),
            f"{RAW}, batch {ROWS}": _raw(ROWS, model=model),
            f"{TORCH}, batch 1": partial(alone.eager, model=model, rows=1),
            f"{TORCH}, batch {ROWS}": partial(alone.eager, model=model, rows=ROWS),
            f"{OURS}, 1 stream": _ours(1, model=model),
            f"{OURS}, {ROWS} streams": _ours(ROWS, model=model),
            f"{OURS}, frames of {ROWS}": _frames(FRAMES[0], model),
        },
        share=0.5,
        retire=None if model is MAIN else model,
    )


def curve_name(contestant: str, rows: int) -> str:
    """How a point of a curve is called."""
    return f"{contestant}, batch {rows}"


def _curve(model: BenchModel) -> Scenario:
    entrants: dict[str, Enter] = {}
    for rows in CURVE_ROWS:
        entrants[curve_name(RAW, rows)] = _raw(rows, model=model)
        entrants[curve_name(TORCH, rows)] = partial(alone.eager, model=model, rows=rows)
    return Scenario(f"curve-{model.name}", model.title, entrants, share=0.2)


def _published(model: BenchModel) -> Scenario:
    entrants = {RAW: _raw(1, model=model), OURS: _ours(1, model=model)}
    retire = None if model is MAIN else model
    return Scenario(f"shape-{model.name}", model.title, entrants, retire=retire)


_BESIDE: Enter = partial(served.small_beside, model=MAIN, company=COMPANY)
_COMPARED = (
    Scenario(
        "engine",
        "The engine without gRPC, 64 sessions, single steps",
        {RAW: _raw(ROWS), ENGINE: partial(alone.engine, model=MAIN, rows=ROWS)},
    ),
    Scenario(
        "streams64",
        "64 streams, single steps",
        {
            RAW: _raw(ROWS),
            BARE: _bare(ROWS),
            OURS: _ours(ROWS),
            TRITON_CALLS: partial(others.triton_calls, model=MAIN, calls=ROWS),
            TRITON: partial(
                others.triton,
                model=MAIN,
                streams=SHARED_STREAMS,
                sequences=ROWS // SHARED_STREAMS,
            ),
        },
    ),
    Scenario(
        "streams16",
        "16 streams, single steps",
        {
            RAW: _raw(16),
            BARE: _bare(16),
            OURS: _ours(16),
            TRITON: partial(others.triton, model=MAIN, streams=16),
        },
    ),
    Scenario(
        "stream1",
        "One stream, single steps",
        {
            RAW: _raw(1),
            BARE: _bare(1),
            OURS: _ours(1),
            TRITON: partial(others.triton, model=MAIN, streams=1),
        },
    ),
    Scenario("frames", "One stream, frames of many sessions' single steps", _frame_entrants()),
    Scenario(
        "chunks64",
        "64 streams, chunks of 64 steps",
        {
            RAW: _raw(ROWS, CHUNK_STEPS),
            AS_SERVED: partial(
                served.raw_as_served, model=MAIN, rows=ROWS, probe=_ours(ROWS, CHUNK_STEPS)
            ),
            BARE: _bare(ROWS, CHUNK_STEPS),
            OURS: _ours(ROWS, CHUNK_STEPS),
        },
    ),
    Scenario(
        "generate",
        "64 Generate calls at once",
        {RAW: _raw(ROWS), OURS: partial(served.generate, model=MAIN, calls=ROWS)},
    ),
    Scenario(
        "beside",
        "One stream of single steps beside 31 of chunks of 256",
        {
            AS_SERVED: partial(
                served.raw_as_served, model=MAIN, rows=COMPANY.streams, probe=_BESIDE
            ),
            OURS: _BESIDE,
        },
    ),
    Scenario(
        "memory",
        "Many open sessions",
        {OURS: partial(served.memory, model=MAIN)},
        most_rounds=3,
    ),
)
SCENARIOS = (
    *_COMPARED,
    *map(_model, TABLE),
    *map(_published, PUBLISHED),
    *map(_curve, TABLE),
)
