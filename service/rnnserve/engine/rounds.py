"""One round of a model: take a batch, gather it, compute it, finish it.

Carries are written only in `finish`, only after success, and only where the lease is still current.
"""

from typing import NamedTuple

from rnnserve.engine.batcher import Batch
from rnnserve.engine.chunk import Memory
from rnnserve.engine.draw import draw
from rnnserve.engine.marks import marks_of
from rnnserve.engine.model import Model, too_late
from rnnserve.engine.session import Session
from rnnserve.engine.slots import Rows, Taken
from rnnserve.errors import Reason, Refusal

NOTHING = Taken((), slice(0), (), 0)
"""No rows."""


class Work(NamedTuple):
    """A batch with its arrays, ready for the runner; valid until the next `gather`. `failure`: why
    it has none."""

    batch: Batch
    taken: Taken
    inputs: Rows  # each (B, T, ...), and then control inputs, each (B,)
    taken_s: float
    failure: Exception | None = None


class Result(NamedTuple):
    """What the runner gave, or `failure` where it raised; and what was drawn for generations."""

    carry: Rows  # each (B, ...)
    outputs: Rows  # each (B, T, ...)
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
    """Put the batch's arrays together; never raises."""
    leases = [chunk.session.lease for chunk in batch.chunks]
    if batch.generations:
        leases += [generation.session.lease for generation in batch.generations]
    try:
        inputs = model.form.join(batch)
        if model.spec.controls:
            inputs += marks_of(model.spec.controls, batch)
        return Work(batch, model.slots.gather(leases), inputs, model.now_s())
    except Exception as failure:
        # A batch that can't even be put together fails as one that can't be run.
        return Work(batch, NOTHING, (), model.now_s(), failure)


def compute(model: Model, work: Work) -> Result:
    """Run it. Changes nothing of the engine's but the generations' draws, so any thread will do;
    never raises."""
    batch = work.batch
    began_s = model.now_s()
    if work.failure is not None:
        return Result((), (), [], [], 0.0, work.failure)
    tokens: list[int | None] = []
    logprobs: list[float | None] = []
    try:
        carry, outputs = model.run(work.taken.carry, work.inputs)
        model.shapes.check(batch.rows, batch.steps, carry, outputs)
        run_s = model.now_s() - began_s
        if batch.generations:
            scores = outputs[0][len(batch.chunks) :, -1]  # (B, V)
            tokens, logprobs = draw([g.draws for g in batch.generations], scores)
    except Exception as failure:
        return Result((), (), [], [], model.now_s() - began_s, failure)
    return Result(carry, outputs, tokens, logprobs, run_s)


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
    count = len(batch.chunks)
    _keep_carries(work)
    model.slots.scatter(work.taken, result.carry)
    if count:
        _commit(model, work, model.form.cut(result.outputs, batch.chunks))
    if batch.generations:
        scores = result.outputs[0][count:, -1]  # (B, V)
        wanted = sum([not generation.is_over for generation in batch.generations])
        model.meter.generated(model.spec.name, wanted)
        drawn = zip(batch.generations, result.tokens, result.logprobs, scores, strict=True)
        for generation, token, logprob, row in drawn:
            generation.stepped(token, logprob, row)


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


def _commit(model: Model, work: Work, outputs: list[Memory]) -> None:
    """Advance the chunks of a batch and answer those that are complete."""
    steps, chunks = work.batch.steps, work.batch.chunks
    now_s = model.now_s()
    done = []
    for chunk, memory in zip(chunks, outputs, strict=True):
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
