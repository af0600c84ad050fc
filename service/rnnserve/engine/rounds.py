"""One round of a model: take a batch, gather it, compute it, finish it.

Carries are written only in `finish`, only after success, and only where the lease is still current.
"""

from typing import Any, NamedTuple

import numpy as np

from rnnserve.engine.batcher import Batch
from rnnserve.engine.chunk import Chunk, Memory
from rnnserve.engine.draw import draw
from rnnserve.engine.marks import marks_of
from rnnserve.engine.model import Model, too_late
from rnnserve.engine.session import Session
from rnnserve.engine.slots import Rows, Taken
from rnnserve.errors import Reason, Refusal

NOTHING = Taken((), slice(0), (), 0)
"""No rows."""
NO_SCORES = np.empty((0, 0), np.float32)


class Work(NamedTuple):
    """A batch with its carries, ready to be run; valid until the next `gather`. `failure`: why it
    has none."""

    batch: Batch
    taken: Taken
    marks: Rows  # control inputs, each (B,)
    taken_s: float
    failure: Exception | None = None


class Result(NamedTuple):
    """What came of a run, ready to be written, or `failure` where it raised."""

    carry: Any
    """As the model's slots take it."""
    answers: list[Memory]
    """Of the chunks."""
    scores: np.ndarray  # (B, V), of the generations
    tokens: list[int | None]
    logprobs: list[float | None]
    run_s: float
    failure: Exception | None = None


def take(model: Model) -> Batch | None:
    """Plan the next batch; None when nothing waits. What can't be in time any more is refused here,
    before it runs."""
    if model.retries:
        model.running = model.retries.pop()
        return model.running
    while (batch := model.batcher.take()) is not None:
        if model.hurried:
            batch = _without_late(model, batch)
        if batch.chunks or batch.generations:
            model.running = batch
            return batch
    model.awake = False
    return None


def gather(model: Model, batch: Batch) -> Work:
    """Take the batch's carries out of their slots; never raises."""
    leases = [chunk.session.lease for chunk in batch.chunks]
    if batch.generations:
        leases += [generation.session.lease for generation in batch.generations]
    try:
        marks = marks_of(model.spec.controls, batch) if model.spec.controls else ()
        return Work(batch, model.slots.gather(leases), marks, model.now_s())
    except Exception as failure:
        # A batch that can't even be put together fails as one that can't be run.
        return Work(batch, NOTHING, (), model.now_s(), failure)


def compute(model: Model, work: Work) -> Result:
    """Join the inputs, run them, and cut what they gave: all that depends on the data. Changes
    nothing of the engine's but the generations' draws, so any thread will do; never raises."""
    batch, chunks = work.batch, work.batch.chunks
    began_s = model.now_s()
    if work.failure is not None:
        return _broken(work.failure, 0.0)
    scores = NO_SCORES
    tokens: list[int | None] = []
    logprobs: list[float | None] = []
    try:
        inputs = model.form.join(batch) + work.marks
        began_s = model.now_s()
        carry, outputs = model.run(work.taken.carry, inputs)
        model.shapes.check(batch.rows, batch.steps, carry, outputs)
        run_s = model.now_s() - began_s
        answers = model.form.cut(outputs, chunks) if chunks else []
        kept = model.slots.apart(carry)
        if batch.generations:
            scores = outputs[0][len(chunks) :, -1]  # (B, V)
            tokens, logprobs = draw([g.draws for g in batch.generations], scores)
    except Exception as failure:
        return _broken(failure, model.now_s() - began_s)
    return Result(kept, answers, scores, tokens, logprobs, run_s)


def finish(model: Model, work: Work, result: Result) -> None:
    """Write the carries, commit what is complete, answer.

    Where a batch of several rows failed, each row is taken alone next, so that only the guilty one
    fails.
    """
    batch = work.batch
    model.running = None
    model.meter.ran(model.spec.name, batch.rows, batch.steps, result.run_s)
    model.statistics.ran(batch.rows, result.run_s)
    if model.costs is None:
        model.pace.took((batch.rows, model.alike(batch.chunks[0])), result.run_s)
    if result.failure is not None:
        _failed(model, batch, result.failure)
        return
    _keep_carries(work)
    if model.costs is None:
        answered = _within_room(model, work, result)
    else:
        model.slots.scatter(work.taken, result.carry)
        answered = list(zip(batch.chunks, result.answers, strict=True))
    if answered:
        _commit(model, work, answered)
    if batch.generations:
        wanted = sum([not generation.is_over for generation in batch.generations])
        model.meter.generated(model.spec.name, wanted)
        drawn = zip(batch.generations, result.tokens, result.logprobs, result.scores, strict=True)
        for generation, token, logprob, row in drawn:
            generation.stepped(token, logprob, row)


def _broken(failure: Exception, run_s: float) -> Result:
    return Result(None, [], NO_SCORES, [], [], run_s, failure)


def _within_room(model: Model, work: Work, result: Result) -> list[tuple[Chunk, Memory]]:
    """Write the carries for which there is room, and refuse the steps whose carry would be too
    large: their sessions stay as before. The chunks that are answered, with their answers."""
    chunks = work.batch.chunks
    # What ends with this step needs its carry no more.
    ends = {row for row, chunk in enumerate(chunks) if chunk.is_last}
    too_large = set(model.slots.scatter(work.taken, result.carry, ends))
    for row in too_large:
        model.drop(chunks[row], no_growth(chunks[row].session))
    answered = zip(chunks, result.answers, strict=True)
    return [pair for row, pair in enumerate(answered) if row not in too_large]


def no_growth(session: Session) -> Refusal:
    return Refusal(
        Reason.NO_CARRY_ROOM,
        "the session's carry would grow beyond what the open sessions may carry; it is as before",
        retry_after_s=1.0,
        expected=session.steps,
    )


def _without_late(model: Model, batch: Batch) -> Batch:
    """Refuse the chunks that have not begun and would not be done by their deadline."""
    now_s = model.now_s()
    block_s = model.costs.expected_s(batch.rows, batch.steps) if model.costs else 0.0
    in_time = []
    for chunk in batch.chunks:
        late_s = now_s + block_s * (chunk.steps / batch.steps) - chunk.deadline_s
        if late_s > 0 and not chunk.done:
            model.drop(chunk, too_late(late_s))
        else:
            in_time.append(chunk)
    return batch._replace(chunks=in_time)


def _keep_carries(work: Work) -> None:
    """A chunk of several blocks happens whole or not at all: remember from where."""
    steps, chunks = work.batch.steps, work.batch.chunks
    for row in [row for row, chunk in enumerate(chunks) if chunk.steps > steps]:
        chunk = chunks[row]
        if not chunk.done:
            chunk.carry_before = tuple(array[row].copy() for array in work.taken.carry)


def _commit(model: Model, work: Work, answered: list[tuple[Chunk, Memory]]) -> None:
    """Advance the chunks of a batch and answer those that are complete."""
    steps = work.batch.steps
    now_s = model.now_s()
    done = []
    for chunk, memory in answered:
        if chunk.steps == steps:
            chunk.answer = memory
            chunk.started_s = work.taken_s
        elif not chunk.advance(steps, memory, work.taken_s):
            if chunk.withdrawn is None:
                model.batcher.add(chunk)
            else:
                model.undo(chunk, chunk.withdrawn)
            continue
        done.append(chunk)
        behind = chunk.session.commit(chunk, now_s)
        if behind is not None:
            model.batcher.add(behind)
    if not done:
        return
    done_steps = sum([chunk.steps for chunk in done])
    model.let_go(done, done_steps)
    queue_s = [chunk.started_s - chunk.submitted_s for chunk in done]
    whole_s = [now_s - chunk.submitted_s for chunk in done]
    model.meter.answered(model.spec.name, done_steps, queue_s, whole_s)
    rows = len(done) if model.costs else sum([chunk.rows for chunk in done])
    model.statistics.answered(rows, queue_s, whole_s, now_s)
    for chunk in done:
        chunk.settle(chunk)


def _failed(model: Model, batch: Batch, failure: Exception) -> None:
    alone = batch.alone()
    if len(alone) > 1:
        model.retries += alone
        return
    for chunk in batch.chunks:
        model.undo(chunk, _guilty(chunk.session, failure))
    for generation in batch.generations:
        generation.fail(_guilty(generation.session, failure))


def _guilty(session: Session, failure: Exception) -> Refusal:
    refusal = Refusal(
        Reason.MODEL_FAILED,
        "the model failed on this input; the session is as before",
        expected=session.steps,
    )
    refusal.__cause__ = failure
    return refusal
