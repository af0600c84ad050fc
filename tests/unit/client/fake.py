"""A server in the test process whose models count the steps they have seen.

It keeps the contract's rules about indices and resends, and has a few handles for trouble. It runs
in grpc's threads, so that the event loop of a test belongs to the client alone.
"""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc

from rnnserve.errors import Reason
from rnnserve.v1 import rnnserve_pb2 as pb
from rnnserve.v1 import rnnserve_pb2_grpc as rpc
from unit.client.fake_models import LETTERS, MODELS, listed
from unit.client.fake_sessions import Failed, Kept, Sessions

PATIENCE_S = 20.0


class Fake(Sessions, rpc.RnnServeServicer):
    """The servicer. While `go_on` is cleared no frame is applied; the next `breaks` frames are
    applied, and the call is broken off with `break_code` instead of answered."""

    def __init__(self) -> None:
        super().__init__()
        self.frames: list[pb.OperationFrame] = []
        self.streams = 0
        self.describes = 0
        self.breaks = 0
        self.break_code = grpc.StatusCode.UNAVAILABLE
        self.go_on = threading.Event()
        self.go_on.set()
        self.came = threading.Semaphore(0)
        self.generating_ended = threading.Event()
        self.end_written = threading.Event()
        self.request: pb.GenerateRequest | None = None
        self.problems: list[str] = []
        self.calls_left_s: list[float] = []
        self._lock = threading.Lock()

    # ---- the calls

    def Stream(self, request_iterator, context) -> Iterator[pb.EventFrame]:
        self.streams += 1
        for frame in request_iterator:
            yield self._apply(frame, context)

    def Exchange(self, request, context) -> pb.EventFrame:
        self.calls_left_s.append(context.time_remaining())
        return self._apply(request, context)

    def Generate(self, request, context) -> Iterator[pb.GenerateReply]:
        self.request = request
        context.add_callback(self.generating_ended.set)
        try:
            with self.generating(request) as (name, session):
                yield from self._tokens(request, name, session, context.is_active)
        except Failed as failed:
            self._abort(context, failed)

    def ListModels(self, request, context) -> pb.ListModelsReply:
        broken = pb.BrokenModel(model="bad", version=1, problem="no [graph] in it")
        return pb.ListModelsReply(models=map(listed, MODELS.values()), broken=[broken])

    def DescribeModel(self, request, context) -> pb.ModelDescription:
        self.describes += 1
        if request.model not in MODELS:
            self._abort(context, Failed(Reason.UNKNOWN_MODEL, grpc.StatusCode.NOT_FOUND))
        return MODELS[request.model]

    def Audit(self, request, context) -> pb.AuditReply:
        return pb.AuditReply(
            problems=self.problems,
            sessions=len(self.kept) - len(self.closed) - len(self.discarded),
            waiting_steps=5,
            waiting_bytes=40,
            generations=sum(kept.generating for kept in self.kept.values()),
            tasks=6,
        )

    # ---- what they do

    def _tokens(
        self,
        request: pb.GenerateRequest,
        name: str,
        session: Kept,
        is_wanted: Callable[[], bool],
    ) -> Iterator[pb.GenerateReply]:
        prompt = list(request.tokens.ids) or [LETTERS.index(one) for one in request.text]
        for token in prompt:
            session.take(token)
        asked = request.sampling
        cause = pb.GenerateEnd.MAX_TOKENS
        made = 0
        while made < (asked.max_tokens or 1_000_000) and cause != pb.GenerateEnd.STOP_TOKEN:
            if not is_wanted():
                return
            session.take(made)
            logprobs = [-made / 8] if asked.logprobs else []
            fork_id = name if request.fork and not made else ""
            yield pb.GenerateReply(
                tokens=[made], text=LETTERS[made % 4], logprobs=logprobs, fork_id=fork_id
            )
            if made in asked.stop_tokens:
                cause = pb.GenerateEnd.STOP_TOKEN
            made += 1
        # Free before it is told: who has heard the end may go on.
        session.generating = False
        end = pb.GenerateEnd(
            cause=cause,
            prompt_tokens=len(prompt),
            generated_tokens=made,
            seed=asked.seed if asked.HasField("seed") else 99,
            session_id=name,
            index=session.index if name else 0,
        )
        yield pb.GenerateReply(end=end)
        # grpc asks for more once it has written the last.
        session.told_end = True
        self.end_written.set()

    def _apply(self, frame: pb.OperationFrame, context) -> pb.EventFrame:
        self.frames.append(frame)
        self.came.release()
        assert self.go_on.wait(PATIENCE_S)
        with self._lock:
            events = pb.EventFrame(events=map(self._event, frame.operations))
            broken, self.breaks = self.breaks > 0, max(0, self.breaks - 1)
        if broken:
            context.abort(self.break_code, "the fake breaks off")
        return events

    def _event(self, operation: pb.Operation) -> pb.Event:
        kind = operation.WhichOneof("kind")
        try:
            answer = getattr(self, kind)(getattr(operation, kind))
        except Failed as failed:
            return pb.Event(id=operation.id, error=failed.status)
        return pb.Event(id=operation.id, **{ANSWERS[type(answer)]: answer})

    def _abort(self, context, failed: Failed) -> None:
        details = ("grpc-status-details-bin", failed.status.SerializeToString())
        context.set_trailing_metadata((details,))
        code = next(code for code in grpc.StatusCode if code.value[0] == failed.status.code)
        context.abort(code, failed.status.message)


ANSWERS = {
    pb.Opened: "opened",
    pb.Stepped: "stepped",
    pb.Closed: "closed",
    pb.WasReset: "was_reset",
    pb.Forked: "forked",
    pb.Exported: "exported",
}


class Running:
    """A fake that listens on a free port; `kill` ends every call at once."""

    def __init__(self) -> None:
        self.fake = Fake()
        self._threads = ThreadPoolExecutor(8)
        self._server = grpc.server(self._threads)
        rpc.add_RnnServeServicer_to_server(self.fake, self._server)
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        self.target = f"127.0.0.1:{self.port}"
        self._server.start()

    def kill(self) -> None:
        stopped = self._server.stop(None)
        self.fake.go_on.set()
        assert stopped.wait(PATIENCE_S)
        self._threads.shutdown()
