"""Steps of one session over a stream of its own, against rnnserve; and the same bytes to the echo.

Bytes go in and come out as they are: the generator builds no message objects.
"""

from typing import Any

import numpy as np

from rnnserve.v1 import rnnserve_pb2 as v1
from rnnserve_bench.echo_server import REPLY_BYTES, SERVICE
from rnnserve_bench.errors import BenchProblem
from rnnserve_bench.frames import StepBytes, reply_is_right
from rnnserve_bench.load import Load, drive
from rnnserve_bench.sample import Sample

STREAM = "/rnnserve.v1.RnnServe/Stream"
ID_CHARACTERS = 32
FIRST_ID = 1
LOGIT_BYTES = 4


def tokens_of(place: int, load: Load) -> bytes:
    """The chunk that session number `place` sends again and again, (T,) int64."""
    ids = (np.arange(load.chunk_steps) + place) % load.vocabulary
    return ids.astype("<i8").tobytes()


def step_bytes(session_id: str, place: int, load: Load, operation_id: int = FIRST_ID) -> StepBytes:
    """The messages of session number `place`."""
    reply_bytes = load.chunk_steps * load.vocabulary * LOGIT_BYTES
    tokens = tokens_of(place, load)
    return StepBytes(session_id, tokens, v1.DataType.INT64, operation_id, reply_bytes)


class SessionTalk:
    """One session on one stream."""

    def __init__(self, call: Any, step: StepBytes, session_id: str, steps: int) -> None:
        self.steps = steps
        self._call, self._step, self._session_id = call, step, session_id
        self._index = 0

    @classmethod
    async def join(cls, channel: Any, load: Load, place: int) -> "SessionTalk":
        call: Any = channel.stream_stream(STREAM)()
        session_id = await open_session(call, load.model)
        return cls(call, step_bytes(session_id, place, load), session_id, load.chunk_steps)

    async def exchange(self) -> None:
        index = self._index
        await self._call.write(self._step.request(index))
        reply = await self._call.read()
        if not (isinstance(reply, bytes) and reply_is_right(reply, index, self._step)):
            raise BenchProblem(f"a wrong answer to step {index}: {describe(reply)}")
        self._index = index + self.steps

    async def leave(self) -> None:
        steps = await close_session(self._call, self._session_id)
        if steps != self._index:
            raise BenchProblem(f"a session took {steps} steps; {self._index} were sent")
        await self._call.done_writing()


class EchoTalk:
    """The bytes of a session's steps, to a server that doesn't read them."""

    def __init__(self, call: Any, step: StepBytes, steps: int) -> None:
        self.steps = steps
        self._call, self._step = call, step
        self._index = 0

    @classmethod
    async def join(cls, channel: Any, load: Load, place: int) -> "EchoTalk":
        step = step_bytes("e" * ID_CHARACTERS, place, load)
        size = len(step.reply_head(1000)) + step.reply_bytes
        # `model` names the way in which the echo's handler is written.
        call: Any = channel.stream_stream(f"/{SERVICE}/{load.model}")(
            metadata=((REPLY_BYTES, str(size)),)
        )
        return cls(call, step, load.chunk_steps)

    async def exchange(self) -> None:
        await self._call.write(self._step.request(self._index))
        reply = await self._call.read()
        if not isinstance(reply, bytes) or len(reply) < self._step.reply_bytes:
            raise BenchProblem(f"the echo answered {reply!r:.100}")
        self._index += self.steps

    async def leave(self) -> None:
        await self._call.done_writing()


async def open_session(call: Any, model: str) -> str:
    """A new session's id. Raises BenchProblem."""
    operation = v1.Operation(id=FIRST_ID, open=v1.Open(model=model))
    await call.write(v1.OperationFrame(operations=[operation]).SerializeToString())
    return first_event(await call.read(), "opened").opened.session_id


async def close_session(call: Any, session_id: str) -> int:
    """Steps the session took. Raises BenchProblem."""
    operation = v1.Operation(id=FIRST_ID, close=v1.Close(session_id=session_id))
    await call.write(v1.OperationFrame(operations=[operation]).SerializeToString())
    return first_event(await call.read(), "closed").closed.steps


def first_event(reply: Any, kind: str) -> v1.Event:
    """A frame's first event. Raises BenchProblem where it isn't of that kind, or there is none."""
    if isinstance(reply, bytes):
        events = v1.EventFrame.FromString(reply).events
        if events and events[0].WhichOneof("kind") == kind:
            return events[0]
    raise BenchProblem(f"not {kind}: {describe(reply)}")


def describe(reply: Any) -> str:
    """The beginning of an answer, for an error's text."""
    if not isinstance(reply, bytes):
        return f"the stream ended ({reply!r})"
    return str(v1.EventFrame.FromString(reply))[:300]


async def rnnserve_streams(load: Load) -> Sample:
    """Closed loop against rnnserve, a session on each stream."""
    return await drive(load, SessionTalk.join)


async def echo_streams(load: Load) -> Sample:
    """The same messages against the bare wire."""
    return await drive(load, EchoTalk.join)
