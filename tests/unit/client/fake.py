"""A server in the test process whose models count the steps they have seen.

It keeps the contract's rules about indices and resends, and has a few handles for trouble. It runs
in grpc's threads, so that the event loop of a test belongs to the client alone.
"""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import grpc
import numpy as np
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

from rnnserve.errors import Reason
from rnnserve.v1 import rnnserve_pb2 as pb
from rnnserve.v1 import rnnserve_pb2_grpc as rpc

PATIENCE_S = 20.0
LETTERS = "abcd\n"
LIMITS = pb.Limits(
    max_chunk_steps=64,
    max_pending_chunks=4,
    kept_replies=8,
    idle_timeout_s=60,
    max_frame_bytes=4096,
)
INT64, FP32 = pb.INT64, pb.FP32
NUMBER = pb.Tensor(name="x", data_type=INT64)
# The steps seen and the sum of the inputs, after each step.
COUNTED = pb.Tensor(name="seen_and_sum", data_type=INT64, shape=[2])
SCORES = pb.Tensor(name="logits", data_type=FP32, shape=[len(LETTERS)])


def tokenizer_json() -> str:
    vocabulary = {letter: token for token, letter in enumerate(LETTERS)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="a"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    return tokenizer.to_str()


MODELS = {
    "count": pb.ModelDescription(
        model="count", version=3, inputs=[NUMBER], outputs=[COUNTED], carry_bytes=16
    ),
    "pair": pb.ModelDescription(
        model="pair",
        version=1,
        inputs=[NUMBER, pb.Tensor(name="y", data_type=FP32, shape=[2])],
        outputs=[COUNTED, pb.Tensor(name="doubled", data_type=FP32, shape=[2])],
    ),
    "letters": pb.ModelDescription(
        model="letters",
        version=1,
        inputs=[NUMBER],
        outputs=[SCORES],
        carry_bytes=8,
        has_tokenizer=True,
        tokenizer_json=tokenizer_json(),
    ),
    "mute": pb.ModelDescription(model="mute", version=1, inputs=[NUMBER], outputs=[SCORES]),
}


def letter_logits(seen: int, token: int) -> np.ndarray:
    """What "letters" answers at its step number `seen`  # (V,)"""
    return np.sin(np.arange(len(LETTERS)) * 1.7 + seen * 0.3 + token).astype(np.float32)


@dataclass
class Kept:
    """A session on the fake: its carry is (seen, total)."""

    model: str
    seen: int = 0
    total: int = 0
    replies: dict[int, tuple[list[bytes], pb.Stepped]] = field(default_factory=dict)


class Failed(Exception):
    def __init__(self, reason: Reason, code: grpc.StatusCode, **facts: str) -> None:
        super().__init__(reason)
        self.status = status_pb2.Status(code=code.value[0], message=f"the fake says {reason}")
        info = error_details_pb2.ErrorInfo(reason=reason, domain="fake", metadata=facts)
        self.status.details.add().Pack(info)
        if reason is Reason.OVERLOADED:
            retry = error_details_pb2.RetryInfo(retry_delay=Duration(nanos=250_000_000))
            self.status.details.add().Pack(retry)


class Fake(rpc.RnnServeServicer):
    """The servicer. While `go_on` is cleared no frame is applied; the next `breaks` frames are
    applied, and the call is broken off with `break_code` instead of answered."""

    def __init__(self) -> None:
        self.sessions: dict[str, Kept] = {}
        self.closed: list[str] = []
        self.frames: list[pb.OperationFrame] = []
        self.advanced = 0
        self.streams = 0
        self.breaks = 0
        self.break_code = grpc.StatusCode.UNAVAILABLE
        self.refuse_next: Reason | None = None
        self.go_on = threading.Event()
        self.go_on.set()
        self.came = threading.Semaphore(0)
        self.generating_ended = threading.Event()
        self.request: pb.GenerateRequest | None = None
        self._lock = threading.Lock()

    # ---- the calls

    def Stream(self, request_iterator, context) -> Iterator[pb.EventFrame]:
        self.streams += 1
        for frame in request_iterator:
            yield self._apply(frame, context)

    def Exchange(self, request, context) -> pb.EventFrame:
        return self._apply(request, context)

    def Generate(self, request, context) -> Iterator[pb.GenerateReply]:
        self.request = request
        if request.model not in MODELS:
            self._abort(context, Failed(Reason.UNKNOWN_MODEL, grpc.StatusCode.NOT_FOUND))
        context.add_callback(self.generating_ended.set)
        count = request.sampling.max_tokens or 1_000_000
        for made in range(count):
            if self.generating_ended.is_set():
                return
            yield pb.GenerateReply(tokens=[made], text=LETTERS[made % 4])
        end = pb.GenerateEnd(
            cause=pb.GenerateEnd.MAX_TOKENS,
            prompt_tokens=len(request.text or request.tokens.ids),
            generated_tokens=count,
            seed=request.sampling.seed if request.sampling.HasField("seed") else 99,
        )
        yield pb.GenerateReply(end=end)

    def ListModels(self, request, context) -> pb.ListModelsReply:
        broken = pb.BrokenModel(model="bad", version=1, problem="no [graph] in it")
        return pb.ListModelsReply(models=MODELS.values(), broken=[broken])

    def DescribeModel(self, request, context) -> pb.ModelDescription:
        if request.model not in MODELS:
            self._abort(context, Failed(Reason.UNKNOWN_MODEL, grpc.StatusCode.NOT_FOUND))
        return MODELS[request.model]

    # ---- what they do

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
        event = pb.Event(id=operation.id)
        try:
            match operation.WhichOneof("kind"):
                case "open":
                    event.opened.CopyFrom(self._open(operation.open))
                case "step":
                    event.stepped.CopyFrom(self._step(operation.step))
                case _:
                    event.closed.CopyFrom(self._close(operation.close))
        except Failed as failed:
            event.error.CopyFrom(failed.status)
        return event

    def _open(self, request: pb.Open) -> pb.Opened:
        if request.model not in MODELS:
            raise Failed(Reason.UNKNOWN_MODEL, grpc.StatusCode.NOT_FOUND, model=request.model)
        model = MODELS[request.model]
        name = f"session-{len(self.sessions)}"
        self.sessions[name] = Kept(request.model)
        return pb.Opened(
            session_id=name,
            version=model.version,
            inputs=model.inputs,
            outputs=model.outputs,
            limits=LIMITS,
        )

    def _step(self, step: pb.Step) -> pb.Stepped:
        session = self._session(step.session_id)
        inputs = list(step.inputs)
        if step.index in session.replies:
            before, reply = session.replies[step.index]
            if before != inputs:
                raise Failed(Reason.OTHER_INPUT, grpc.StatusCode.FAILED_PRECONDITION)
            return reply
        if step.index > session.seen:
            expected = str(session.seen)
            raise Failed(Reason.INDEX_GAP, grpc.StatusCode.OUT_OF_RANGE, expected=expected)
        if self.refuse_next:
            reason, self.refuse_next = self.refuse_next, None
            raise Failed(reason, grpc.StatusCode.RESOURCE_EXHAUSTED, limit="7")
        outputs = self._advance(session, np.frombuffer(inputs[0], "<i8"))
        if session.model == "pair":
            outputs.append((np.frombuffer(inputs[1], "<f4") * 2).tobytes())
        reply = pb.Stepped(index=step.index, outputs=outputs)
        session.replies[step.index] = inputs, reply
        return reply

    def _advance(self, session: Kept, numbers: np.ndarray) -> list[bytes]:
        rows = []
        for number in numbers.tolist():
            session.seen += 1
            session.total += number
            self.advanced += 1
            if session.model == "letters":
                rows.append(letter_logits(session.seen, number))
            else:
                rows.append(np.array([session.seen, session.total], "<i8"))
        return [np.stack(rows).tobytes()]

    def _close(self, request: pb.Close) -> pb.Closed:
        session = self._session(request.session_id)
        self.closed.append(request.session_id)
        return pb.Closed(steps=session.seen)

    def _session(self, name: str) -> Kept:
        if name not in self.sessions:
            raise Failed(Reason.UNKNOWN_SESSION, grpc.StatusCode.NOT_FOUND)
        if name in self.closed:
            raise Failed(Reason.SESSION_CLOSED, grpc.StatusCode.FAILED_PRECONDITION)
        return self.sessions[name]

    def _abort(self, context, failed: Failed) -> None:
        details = ("grpc-status-details-bin", failed.status.SerializeToString())
        context.set_trailing_metadata((details,))
        context.abort(grpc.StatusCode.NOT_FOUND, failed.status.message)


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
