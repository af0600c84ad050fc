"""The real engine without a loop: work is done when the test says so, on a clock moved by hand."""

from dataclasses import dataclass, field

import numpy as np

from rnnserve.engine.batcher import BatchLimits
from rnnserve.engine.chunk import Reply
from rnnserve.engine.engine import Engine
from rnnserve.engine.meter import Cause
from rnnserve.engine.model import Model, Run
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

    def opened(self, model: str) -> None: ...

    def ended(self, model: str, cause: Cause) -> None:
        self.ends.append(cause)

    def ran(self, model: str, rows: int, steps: int, run_s: float) -> None:
        self.batches.append((rows, steps))

    def answered(self, model: str, steps: int, queue_s: float, whole_s: float) -> None:
        self.steps += steps

    def resent(self, model: str) -> None:
        self.resends += 1

    def generated(self, model: str, tokens: int) -> None: ...

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
    ) -> None:
        self.now_s = 0.0
        self.notes = Notes()
        table = table or TableLimits()
        self.model = Model(
            model.spec,
            run or model.runner().run,
            slots=table.max_sessions,
            limits=batches or BatchLimits(),
            meter=self.notes,
            clock=lambda: self.now_s,
        )
        self.engine = Engine(
            {model.spec.name: self.model},
            table=table,
            sessions=sessions or SessionLimits(),
            meter=self.notes,
            wake=lambda _: None,
            clock=lambda: self.now_s,
        )

    def open(self) -> str:
        session, _ = self.engine.open(self.model.spec.name)
        return session.id

    def close(self, session_id: str) -> list[int]:
        """Close; the list gets the session's steps when that has happened."""
        told: list[int] = []
        self.engine.close(session_id, lambda session: told.append(session.steps))
        return told

    def submit(self, session_id: str, index: int, tokens: list[int]) -> list[Reply | Refusal]:
        """Queue a chunk; the list gets its outcome when there is one."""
        outcomes: list[Reply | Refusal] = []
        array = np.array(tokens, np.int64)
        self.engine.step(session_id, index, (array,), outcomes.append)
        return outcomes

    def tick(self) -> bool:
        """Run one batch; False when nothing waited."""
        work = self.model.take()
        if work is None:
            return False
        for alone in self.model.finish(work, self.model.compute(work)):
            self.model.finish(alone, self.model.compute(alone))
        return True

    def run_all(self) -> None:
        while self.tick():
            pass

    def step(self, session_id: str, index: int, tokens: list[int]) -> np.ndarray:
        """Submit, run, and return the logits (T, V); raises the Refusal."""
        outcomes = self.submit(session_id, index, tokens)
        self.run_all()
        return logits(outcomes)

    def audit(self) -> list[str]:
        return self.engine.audit()


def logits(outcomes: list[Reply | Refusal]) -> np.ndarray:
    """The logits (T, V) of the one outcome there must be."""
    (outcome,) = outcomes
    if isinstance(outcome, Refusal):
        raise outcome
    return outcome.outputs[0]


def failing_on(token: int, run: Run) -> Run:
    """A runner that fails whenever a row of the batch holds this token."""

    def guarded(carry: tuple[np.ndarray, ...], inputs: tuple[np.ndarray, ...]):
        if (inputs[0] == token).any():
            raise RuntimeError("a poisoned row")
        return run(carry, inputs)

    return guarded
