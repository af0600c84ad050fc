"""What all who take part in a soak say and hear: frames of operations on one stream."""

from collections.abc import Sequence

from rnnserve.client.errors import from_status
from rnnserve.v1 import rnnserve_pb2 as v1
from rnnserve_bench.errors import BenchProblem
from rnnserve_bench.light_channel import LightCall, LightChannel
from rnnserve_bench.session_talk import LOGIT_BYTES, STREAM

VOCABULARY = 96
"""Of the model that is soaked."""


def tokens(*ids: int) -> bytes:
    """Inputs of a chunk, (T,) int64."""
    return b"".join((one % VOCABULARY).to_bytes(8, "little") for one in ids)


class Talk:
    """One stream. Every answer that isn't what was meant to come raises BenchProblem."""

    def __init__(self, channel: LightChannel, model: str) -> None:
        self.call: LightCall = channel.stream_stream(STREAM)()
        self._model = model
        self._last_id = 0
        self._heard: list[v1.Event] = []

    async def say(self, *operations: v1.Operation) -> list[int]:
        """Send them as one frame; the ids they were given."""
        ids = []
        for operation in operations:
            self._last_id += 1
            operation.id = self._last_id
            ids.append(operation.id)
        await self.call.write(v1.OperationFrame(operations=operations).SerializeToString())
        return ids

    async def hear(self) -> v1.Event:
        """The next event that answers something."""
        while not self._heard:
            reply = await self.call.read()
            if reply is None:
                raise BenchProblem("the server ended a stream")
            self._heard = [e for e in v1.EventFrame.FromString(reply).events if e.id]
        return self._heard.pop(0)

    async def ask(self, operation: v1.Operation, kind: str) -> v1.Event:
        """One operation and its answer, which has to be of this kind."""
        await self.say(operation)
        event = await self.hear()
        if event.WhichOneof("kind") != kind:
            said = from_status(event.error) if event.HasField("error") else event
            raise BenchProblem(f"not {kind}: {str(said)[:200]}")
        return event

    async def open(self) -> str:
        event = await self.ask(v1.Operation(open=v1.Open(model=self._model)), "opened")
        return event.opened.session_id

    async def step(self, session_id: str, index: int, ids: Sequence[int]) -> bytes:
        """The logits (T, V) float32 as bytes."""
        step = v1.Step(session_id=session_id, index=index, inputs=[tokens(*ids)])
        event = await self.ask(v1.Operation(step=step), "stepped")
        (output,) = event.stepped.outputs
        if event.stepped.index != index or len(output) != len(ids) * VOCABULARY * LOGIT_BYTES:
            raise BenchProblem(f"a wrong answer to step {index}")
        return output

    async def refused(self, operation: v1.Operation) -> str:
        """An operation that has to be refused; the reason."""
        event = await self.ask(operation, "error")
        return from_status(event.error).reason

    async def close(self, session_id: str, steps: int) -> None:
        """Close a session that has to have taken so many steps."""
        close = v1.Operation(close=v1.Close(session_id=session_id))
        closed = (await self.ask(close, "closed")).closed
        if closed.steps != steps:
            raise BenchProblem(f"a session took {closed.steps} steps; {steps} were answered")

    async def leave(self) -> None:
        """Nothing more; wait until the server has ended the stream too."""
        await self.call.done_writing()
        if await self.call.read() is not None:
            raise BenchProblem("an answer to nothing")
