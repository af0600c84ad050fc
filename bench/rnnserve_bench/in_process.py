"""The engine without gRPC: the only file of the bench that knows the server's inside.

What it steps is what the server steps: the same engine, table, slots, batcher and metrics.
"""

import gc
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from rnnserve.engine import rounds
from rnnserve.engine.backlog import Backlog, BacklogLimits
from rnnserve.engine.batcher import BatchLimits
from rnnserve.engine.chunk import Chunk
from rnnserve.engine.engine import Engine
from rnnserve.engine.meter import Meter
from rnnserve.engine.model import Model
from rnnserve.engine.runner import Runner
from rnnserve.engine.session import SessionLimits
from rnnserve.engine.table import TableLimits
from rnnserve.engine.trial import costs_of
from rnnserve.errors import Refusal
from rnnserve.ops.metrics import Metrics
from rnnserve.ops.server import calm_collector
from rnnserve.repository.tree import read_version
from rnnserve.v1 import rnnserve_pb2 as v1
from rnnserve.wire.operations import Operations
from rnnserve.wire.replies import Replies, Waiting
from rnnserve.wire.stream_answers import StreamAnswers
from rnnserve_bench.errors import BenchProblem

TOKEN = (5).to_bytes(8, "little")


class Crowd:
    """Sessions that take their next step together, again and again."""

    def __init__(self, repository: Path, model: str, rows: int) -> None:
        self._engine, self._model = _engine(repository, model, rows, _counting(model))
        self._ids = [self._engine.open(self._model).session.id for _ in range(rows)]
        self._index = 0
        self._answers: list[Chunk | Refusal] = []

    def step(self) -> None:
        """One step of every session, from its lookup to its answer."""
        now_s = self._engine.now_s()
        for session_id in self._ids:
            entry = self._engine.session(session_id, now_s)
            entry.model.submit(entry.session, self._index, (TOKEN,), self._answers.append, now_s)
        while (batch := rounds.take(self._model)) is not None:
            work = rounds.gather(self._model, batch)
            rounds.finish(self._model, work, rounds.compute(self._model, work))
        self._check()
        self._index += 1

    def _check(self) -> None:
        answers, self._answers = self._answers, []
        if len(answers) != len(self._ids) or not all(isinstance(a, Chunk) for a in answers):
            raise BenchProblem(f"{len(answers)} answers for {len(self._ids)} sessions")


class Unasked(Replies):
    """Asked by nobody how long answers wait. What is left of it is an attribute or two a step."""

    def turn(self, model: str, ready_s: float | None) -> None:
        self.ready_s = ready_s

    def take(self) -> Waiting:
        return self._waiting


class TalkingCrowd:
    """The same, from frames of bytes to frames of bytes, over so many streams; without gRPC.

    Counted as the server counts, or not at all, from one step to the next: two engines would differ
    by where in memory they lie, and by more than counting costs.
    """

    def __init__(self, repository: Path, model: str, rows: int, streams: int) -> None:
        """Only inside a running loop."""
        self.meters = (_not_counting(), _counting(model))
        """The one that looks away, and the server's."""
        self._engine, self._model = _engine(repository, model, rows, self.meters[False])
        self._operations = Operations(self._engine, 4 << 20)
        ids = [self._engine.open(self._model).session.id for _ in range(rows)]
        self._shares = [ids[stream::streams] for stream in range(streams)]
        self._answers = tuple(
            [StreamAnswers(1 << 20, 1 << 30, replies=self._replies(meter)) for _ in self._shares]
            for meter in self.meters
        )
        self._index = 0

    def frames(self) -> list[bytes]:
        """What the clients send next, a frame a stream: one step of each session."""
        frames = [_frame(ids, self._index) for ids in self._shares]
        self._index += 1
        return frames

    async def step(self, frames: list[bytes], *, counted: bool) -> None:
        """Read, run and answer them."""
        self._engine.meter = self._model.meter = self.meters[counted]
        told, everybodys = 0, self._answers[counted]
        for content, ids, answers in zip(frames, self._shares, everybodys, strict=True):
            frame = v1.OperationFrame.FromString(content)
            answers.promise(len(ids))
            self._operations.apply(frame.operations, answers, self._engine.now_s())
        while (batch := rounds.take(self._model)) is not None:
            work = rounds.gather(self._model, batch)
            rounds.finish(self._model, work, rounds.compute(self._model, work))
        for answers in everybodys:
            for sent in await answers.take():
                sent.SerializeToString()
                told += len(sent.events)
        if told != sum(map(len, self._shares)):
            raise BenchProblem(f"{told} answers came")

    def _replies(self, meter: Meter) -> Replies:
        if meter is self.meters[False]:
            return Unasked()
        return Replies(meter.replied, self._engine.now_s)


def _frame(ids: list[str], index: int) -> bytes:
    steps = (v1.Step(session_id=one, index=index, inputs=[TOKEN]) for one in ids)
    frame = v1.OperationFrame(operations=[v1.Operation(id=1, step=step) for step in steps])
    return frame.SerializeToString()


def measure(
    repository: Path, model: str, rows: int, warm_s: float, measure_s: float
) -> list[float]:
    """Seconds a step, one figure for every time that `rows` sessions took a step each."""
    crowd = Crowd(repository, model, rows)
    calm_collector()
    _repeat(crowd, warm_s)
    times_s = _repeat(crowd, measure_s)
    gc.unfreeze()
    return [seconds / rows for seconds in times_s]


def _repeat(crowd: Crowd, span_s: float) -> list[float]:
    times_s: list[float] = []
    until_s = time.perf_counter() + span_s
    while (began_s := time.perf_counter()) < until_s:
        crowd.step()
        times_s.append(time.perf_counter() - began_s)
    return times_s


def _counting(model: str) -> Meter:
    metrics = Metrics()
    metrics.expect(model, generates=True)
    return metrics


def _not_counting() -> Meter:
    blind: Any = _Blind()
    return cast(Meter, blind)


class _Blind:
    """A meter that looks away."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return _nothing


def _nothing(*_: object) -> None:
    return None


def _engine(repository: Path, name: str, rows: int, meter: Meter) -> tuple[Engine, Model]:
    found = read_version(repository, name, 1)
    runner = Runner(found.spec, found.graph)
    backlog = Backlog(BacklogLimits())
    costs = costs_of(found.spec, runner.run, max_rows=rows, max_block_steps=64, max_block_s=0.010)
    model = Model(
        found.spec,
        runner.run,
        slots=rows,
        limits=BatchLimits(rows, 64),
        backlog=backlog,
        meter=meter,
        costs=costs,
        wake=lambda: None,
    )
    engine = Engine(
        [model],
        table=TableLimits(),
        sessions=SessionLimits(),
        backlog=backlog,
        meter=meter,
    )
    return engine, model
