"""The sessions of the fake server: the contract's rules, over a carry that counts."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import grpc
import numpy as np
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2

from rnnserve.errors import Reason
from rnnserve.v1 import rnnserve_pb2 as pb
from unit.client.fake_models import CARRY, LIMITS, MODELS, letter_logits


class Failed(Exception):
    def __init__(self, reason: Reason, code: grpc.StatusCode, **facts: str) -> None:
        super().__init__(reason)
        self.status = status_pb2.Status(code=code.value[0], message=f"the fake says {reason}")
        info = error_details_pb2.ErrorInfo(reason=reason, domain="fake", metadata=facts)
        self.status.details.add().Pack(info)
        if reason is Reason.OVERLOADED:
            retry = error_details_pb2.RetryInfo(retry_delay=Duration(nanos=250_000_000))
            self.status.details.add().Pack(retry)


@dataclass
class Kept:
    """A session on the fake. Its carry is (seen, total): steps since it began, and their sum."""

    model: str
    index: int = 0
    seen: int = 0
    total: int = 0
    generating: bool = False
    told_end: bool = False
    replies: dict[int, tuple[list[bytes], pb.Stepped]] = field(default_factory=dict)

    def at(self, index: int) -> None:
        if index != self.index:
            reason = Reason.INDEX_GAP if index > self.index else Reason.INDEX_PAST
            code = grpc.StatusCode.OUT_OF_RANGE
            raise Failed(reason, code, expected=str(self.index))

    def begin(self, carry: pb.InitialCarry) -> None:
        """A random carry stays zero: it is made of whole numbers."""
        self.seen = self.total = 0
        if carry.WhichOneof("kind") != "given":
            return
        entries = carry.given.tensors
        if [len(entry) for entry in entries] != [8] * len(CARRY):
            raise Failed(Reason.BAD_CARRY, grpc.StatusCode.INVALID_ARGUMENT)
        self.seen, self.total = (int(np.frombuffer(entry, "<i8")[0]) for entry in entries)

    def take(self, number: int) -> np.ndarray:
        """One step; the only output's row."""
        self.index += 1
        self.seen += 1
        self.total += number
        if self.model == "letters":
            return letter_logits(self.seen, number)
        return np.array([self.seen, self.total], "<i8")


class Sessions:
    """Applies operations. `refuse_next` refuses a step, `busy_answers` that many operations."""

    def __init__(self) -> None:
        self.kept: dict[str, Kept] = {}
        self.closed: list[str] = []
        self.discarded: list[str] = []
        self.advanced = 0
        self.refuse_next: Reason | None = None
        self.busy_answers = 0
        self.step_takes_us = 0

    def open(self, request: pb.Open) -> pb.Opened:
        kept = Kept(self._known(request.model))
        kept.begin(request.carry)
        return self._opened(kept)

    def import_blob(self, request: pb.Import) -> pb.Opened:
        try:
            told = json.loads(request.blob)
        except ValueError:
            raise Failed(Reason.BLOB_DAMAGED, grpc.StatusCode.INVALID_ARGUMENT) from None
        if told["model"] != self._known(request.model):
            raise Failed(Reason.BLOB_FOREIGN, grpc.StatusCode.FAILED_PRECONDITION)
        return self._opened(Kept(**told))

    def step(self, step: pb.Step) -> pb.Stepped:
        session = self.session(step.session_id)
        inputs = list(step.inputs)
        if step.index in session.replies:
            before, reply = session.replies[step.index]
            if before != inputs:
                raise Failed(Reason.OTHER_INPUT, grpc.StatusCode.FAILED_PRECONDITION)
            return reply
        session.at(step.index)
        if step.timeout_us and step.timeout_us < self.step_takes_us:
            raise Failed(Reason.TOO_LATE, grpc.StatusCode.RESOURCE_EXHAUSTED)
        if self.refuse_next:
            reason, self.refuse_next = self.refuse_next, None
            raise Failed(reason, grpc.StatusCode.RESOURCE_EXHAUSTED, limit="7")
        outputs = self._advance(session, np.frombuffer(inputs[0], "<i8"))
        if session.model == "pair":
            outputs.append((np.frombuffer(inputs[1], "<f4") * 2).tobytes())
        reply = pb.Stepped(index=step.index, outputs=outputs)
        session.replies[step.index] = inputs, reply
        return reply

    def reset(self, request: pb.Reset) -> pb.WasReset:
        session = self.session(request.session_id)
        session.at(request.index)
        session.begin(request.carry)
        return pb.WasReset(index=session.index)

    def fork(self, request: pb.Fork) -> pb.Forked:
        session = self.session(request.session_id)
        if request.HasField("index"):
            session.at(request.index)
        if request.count > LIMITS.max_forks:
            raise Failed(Reason.TOO_MANY_FORKS, grpc.StatusCode.INVALID_ARGUMENT)
        names = [self.add(self.copy(session)) for _ in range(request.count or 1)]
        return pb.Forked(session_ids=names, index=session.index)

    def export(self, request: pb.Export) -> pb.Exported:
        session = self.session(request.session_id)
        if request.HasField("index"):
            session.at(request.index)
        told = {name: getattr(session, name) for name in ("model", "index", "seen", "total")}
        return pb.Exported(blob=json.dumps(told).encode(), index=session.index)

    def close(self, request: pb.Close) -> pb.Closed:
        session = self.session(request.session_id)
        self.closed.append(request.session_id)
        return pb.Closed(steps=session.index)

    def session(self, name: str) -> Kept:
        if name not in self.kept or name in self.discarded:
            raise Failed(Reason.UNKNOWN_SESSION, grpc.StatusCode.NOT_FOUND)
        if name in self.closed:
            raise Failed(Reason.SESSION_CLOSED, grpc.StatusCode.FAILED_PRECONDITION)
        if self.kept[name].generating or self.busy_answers:
            self.busy_answers = max(0, self.busy_answers - 1)
            raise Failed(Reason.SESSION_BUSY, grpc.StatusCode.FAILED_PRECONDITION)
        return self.kept[name]

    def add(self, kept: Kept) -> str:
        name = f"session-{len(self.kept)}"
        self.kept[name] = kept
        return name

    @staticmethod
    def copy(kept: Kept) -> Kept:
        return Kept(kept.model, kept.index, kept.seen, kept.total)

    @contextmanager
    def generating(self, request: pb.GenerateRequest) -> Iterator[tuple[str, Kept]]:
        """The session that a generation moves, busy meanwhile; of its own where none is named."""
        if not request.session_id:
            yield "", Kept(self._known(request.model))
            return
        name, session = request.session_id, self.session(request.session_id)
        if not request.WhichOneof("prompt") and not session.seen:
            raise Failed(Reason.EMPTY_CHUNK, grpc.StatusCode.INVALID_ARGUMENT)
        if request.fork:
            session = self.copy(session)
            name = self.add(session)
        session.generating = True
        try:
            yield name, session
        finally:
            session.generating = False
            if request.fork and not session.told_end:
                self.discarded.append(name)

    def _opened(self, kept: Kept) -> pb.Opened:
        model = MODELS[kept.model]
        return pb.Opened(
            session_id=self.add(kept),
            version=model.version,
            inputs=model.inputs,
            outputs=model.outputs,
            limits=LIMITS,
            index=kept.index,
            carry=model.carry,
        )

    def _advance(self, session: Kept, numbers: Sequence[int]) -> list[bytes]:
        self.advanced += len(numbers)
        return [np.stack([session.take(int(number)) for number in numbers]).tobytes()]

    @staticmethod
    def _known(model: str) -> str:
        if model not in MODELS:
            raise Failed(Reason.UNKNOWN_MODEL, grpc.StatusCode.NOT_FOUND, model=model)
        return model
