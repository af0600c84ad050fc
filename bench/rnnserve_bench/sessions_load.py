"""Very many sessions, each opened and stepped once, so that every carry has been written."""

from collections.abc import Sequence
from typing import Any

from rnnserve.v1 import rnnserve_pb2 as v1
from rnnserve_bench.channels import open_channels
from rnnserve_bench.errors import BenchProblem
from rnnserve_bench.load import Load
from rnnserve_bench.session_talk import STREAM, step_bytes

OPERATIONS = 500
"""In one frame."""


async def open_many(load: Load, sessions: int) -> int:
    """Open and step them, then go; they stay on the server until they idle. The number stepped."""
    async with open_channels(load.target, load.client) as (channel,):
        call: Any = channel.stream_stream(STREAM)()
        stepped = 0
        for first in range(0, sessions, OPERATIONS):
            places = range(first, min(first + OPERATIONS, sessions))
            frame = v1.OperationFrame(
                operations=[v1.Operation(id=p + 1, open=v1.Open(model=load.model)) for p in places]
            )
            opened = await _answers(call, frame.SerializeToString(), len(places), "opened")
            steps = [step_bytes(e.opened.session_id, e.id - 1, load, e.id) for e in opened]
            frame_bytes = b"".join([step.request(0) for step in steps])
            stepped += len(await _answers(call, frame_bytes, len(places), "stepped"))
        await call.done_writing()
    return stepped


async def _answers(call: Any, frame: bytes, count: int, kind: str) -> Sequence[v1.Event]:
    """The events that answer a frame. Raises BenchProblem for one of another kind."""
    await call.write(frame)
    events: list[v1.Event] = []
    while len(events) < count:
        events += v1.EventFrame.FromString(await call.read()).events
    for event in events:
        if event.WhichOneof("kind") != kind:
            raise BenchProblem(f"not {kind}: {str(event)[:300]}")
    return events
