"""The real engine without a loop: work is done when the test says so, on a clock moved by hand."""

import math
from dataclasses import dataclass, field, replace

import numpy as np

from rnnserve.engine import rounds
from rnnserve.engine.audit import audit
from rnnserve.engine.backlog import Backlog, BacklogLimits
from rnnserve.engine.batcher import BatchLimits
from rnnserve.engine.chunk import Chunk
from rnnserve.engine.costs import Costs, measure
from rnnserve.engine.engine import Engine
from rnnserve.engine.generation import Audience, Generation
from rnnserve.engine.meter import Cause, SessionEnd
from rnnserve.engine.model import Model, Run
from rnnserve.engine.sampling import Sampling
from rnnserve.engine.session import SessionLimits
from rnnserve.engine.table import TableLimits
from rnnserve.errors import Reason, Refusal
from small_models import SmallModel


@dataclass
class Notes:
    """A meter that writes down."""

    batches: list[tuple[int, int]] = field(default_factory=list)
    ends: list[Cause] = field(default_factory=list)
    resends: int = 0
    steps: int = 0
    tokens: int = 0
    replies: list[tuple[str, int, float]] = field(default_factory=list)

    def opened(self, model: str) -> None: ...

    def ended(self, end: SessionEnd) -> None:
        self.ends.append(end.cause)

    def ran(self, model: str, rows: int, steps: int, run_s: float) -> None:
        self.batches.append((rows, steps))

    def answered(self, model: str, steps: int, queue_s, whole_s) -> None:
        self.steps += steps

    def replied(self, model: str, answers: int, reply_s: float) -> None:
        self.replies.append((model, answers, reply_s))

    def first_token(self, model: str, after_s: float) -> None: ...

    def more_tokens(self, model: str, tokens: int, interval_s: float) -> None: ...

    def resent(self, model: str) -> None:
        self.resends += 1

    def generated(self, model: str, tokens: int) -> None:
        self.tokens += tokens

    def refused(self, reason: Reason) -> None: ...


class SynchronousEngine:
    """One model behind a real `Engine`."""

    def __init__(
        self,
        model: SmallModel,
        *,
        run: Run | None = None,
        batches: BatchLimits | None = None,
        sessions: SessionLimits | None = None,
        table: TableLimits | None = None,
        backlog: BacklogLimits | None = None,
        costs: Costs | None = None,
    ) -> None:
        self.now_s = 0.0
        self.notes = Notes()
        table = table or TableLimits()
        batches = batches or BatchLimits()
        self.backlog = Backlog(backlog or BacklogLimits())
        self.model = Model(
            # How long sessions may idle is for the test to say.
            replace(model.spec, idle_timeout_s=None),
            run or model.runner().run,
            slots=table.max_sessions,
            limits=batches,
            backlog=self.backlog,
            meter=self.notes,
            costs=None if model.spec.is_shaped else costs or steady_costs(batches),
            wake=lambda: None,
            fingerprint="a graph",
            clock=lambda: self.now_s,
        )
        self.engine = Engine(
            [self.model],
            table=table,
            sessions=sessions or SessionLimits(),
            backlog=self.backlog,
            meter=self.notes,
            clock=lambda: self.now_s,
        )

    def open(self, carry: tuple[np.ndarray, ...] | None = None) -> str:
        return self.engine.open(self.model, carry).session.id

    def close(self, session_id: str) -> list[int]:
        """Close; the list gets the session's steps when that has happened."""
        told: list[int] = []
        self.engine.close(self.engine.session(session_id), told.append)
        return told

    def reset(
        self, session_id: str, index: int, carry: tuple[np.ndarray, ...] | None = None
    ) -> list:
        """Reset; the list gets the index, or the Refusal."""
        told: list = []
        self.engine.reset(self.engine.session(session_id), index, carry, told.append)
        return told

    def fork(self, session_id: str, count: int = 1, index: int | None = None) -> list:
        """Fork; the list gets the ids and the index, or the Refusal."""
        told: list = []
        self.engine.fork(self.engine.session(session_id), count, index, told.append)
        return told

    def export(self, session_id: str, index: int | None = None) -> list:
        """Export; the list gets the blob and the index, or the Refusal."""
        told: list = []
        self.engine.export(self.engine.session(session_id), index, told.append)
        return told

    def restore(self, blob: bytes) -> str:
        return self.engine.restore(self.model, blob).session.id

    def generate(
        self,
        session_id: str,
        prompt: list[int],
        listener: Audience,
        *,
        feed_last: bool = True,
        **sampling,
    ) -> Generation:
        """Begin a generation: the likeliest tokens, unless told otherwise."""
        drawn = Sampling(**{"seed": 0, "temperature": 0.0} | sampling)
        tokens = np.array(prompt, np.int64)
        entry = self.engine.session(session_id)
        return self.engine.generate(entry, tokens, drawn, listener, feed_last=feed_last)

    def submit(
        self, session_id: str, index: int, tokens: list[int], timeout_s: float = math.inf
    ) -> list[Chunk | Refusal]:
        """Queue a chunk; the list gets its outcome when there is one."""
        outcomes: list[Chunk | Refusal] = []
        entry = self.engine.session(session_id)
        entry.model.submit(
            entry.session, index, (memory(tokens),), outcomes.append, entry.used_s, timeout_s
        )
        return outcomes

    def tick(self) -> bool:
        """Run one batch; False when nothing waited."""
        work = self.begin()
        if work is None:
            return False
        self.finish(work)
        return True

    def begin(self) -> rounds.Work | None:
        """Take a batch, as if it now ran in a worker thread; None when nothing waits."""
        batch = rounds.take(self.model)
        return None if batch is None else rounds.gather(self.model, batch)

    def finish(self, work: rounds.Work) -> None:
        """The batch comes back from its thread."""
        rounds.finish(self.model, work, rounds.compute(self.model, work))

    def run_all(self) -> None:
        while self.tick():
            pass

    def step(self, session_id: str, index: int, tokens: list[int]) -> np.ndarray:
        """Submit, run, and return the logits (T, V); raises the Refusal."""
        outcomes = self.submit(session_id, index, tokens)
        self.run_all()
        return logits(outcomes)

    def carry(self, session_id: str) -> tuple[np.ndarray, ...]:
        """What the session carries now."""
        return self.model.slots.read(self.model.sessions[session_id].lease)

    def steps(self, session_id: str) -> int:
        return self.model.sessions[session_id].steps

    def audit(self) -> list[str]:
        return list(audit(self.engine).problems)


def steady_costs(limits: BatchLimits, step_s: float = 1e-6) -> Costs:
    """Of a model whose every row and step takes as long."""
    return measure(
        lambda rows, steps: rows * steps * step_s, limits.max_rows, limits.max_block_steps
    )


def memory(tokens: list[int]) -> bytes:
    """Tokens as an input's memory."""
    return np.array(tokens, np.int64).tobytes()


def logits(outcomes: list[Chunk | Refusal]) -> np.ndarray:
    """The logits (T, V) of the one outcome there must be."""
    (outcome,) = outcomes
    if isinstance(outcome, Refusal):
        raise outcome
    assert outcome.answer is not None
    return np.frombuffer(outcome.answer[0], np.float32).reshape(outcome.steps, -1)


def failing_on(token: int, run: Run) -> Run:
    """A runner that fails whenever a row of the batch holds this token."""

    def guarded(carry: tuple[np.ndarray, ...], inputs: tuple[np.ndarray, ...]):
        if (inputs[0] == token).any():
            raise RuntimeError("a poisoned row")
        return run(carry, inputs)

    return guarded
