"""One stream that carries frames: each has one step of many sessions, as a gateway sends them."""

import asyncio
import time
from dataclasses import dataclass
from typing import Any

from rnnserve.v1 import rnnserve_pb2 as v1
from rnnserve_bench.channels import open_channels
from rnnserve_bench.echo_server import REPLY_BYTES, SERVICE
from rnnserve_bench.errors import BenchProblem
from rnnserve_bench.frames import StepBytes
from rnnserve_bench.load import Load, Window
from rnnserve_bench.sample import Sample
from rnnserve_bench.session_talk import (
    FIRST_ID,
    ID_CHARACTERS,
    STREAM,
    close_session,
    describe,
    open_session,
    step_bytes,
)


@dataclass(frozen=True)
class FrameShape:
    """`in_flight` frames under way, each with the steps of `rows` sessions of its own."""

    rows: int
    in_flight: int

    @property
    def sessions(self) -> int:
        return self.rows * self.in_flight


class Group:
    """The sessions of one frame. They take their steps together, so one index is enough."""

    def __init__(self, steps: list[StepBytes]) -> None:
        self._steps = steps
        self._missing: set[int] = set()
        self.index = 0
        self.sent_s = 0.0

    def frame(self) -> bytes:
        """The next frame."""
        self.sent_s = time.perf_counter()
        self._missing = set(range(len(self._steps)))
        return b"".join([step.request(self.index) for step in self._steps])

    def answered(self, place: int, stepped: v1.Stepped) -> bool:
        """Take the answer of the session at `place`; whether the frame is complete now."""
        self._missing.remove(place)
        outputs = stepped.outputs
        if stepped.index != self.index or len(outputs[0]) != self._steps[place].reply_bytes:
            raise BenchProblem(f"a wrong answer to step {self.index}: {str(stepped)[:100]}")
        if self._missing:
            return False
        self.index += 1
        return True


async def rnnserve_frames(load: Load, shape: FrameShape) -> Sample:
    """Frames against rnnserve; a group's next frame goes out when its last answer is in."""
    async with open_channels(load.target, load.client) as (channel,):
        call: Any = channel.stream_stream(STREAM)()
        ids = [await open_session(call, load.model) for _ in range(shape.sessions)]
        groups = []
        for first in range(0, shape.sessions, shape.rows):
            places = range(first, first + shape.rows)
            groups.append(Group([step_bytes(ids[p], p, load, p + FIRST_ID) for p in places]))
        window = Window(load.pids, load.span)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_converse(call, groups, shape.rows, window))
            sample = await window.run()
        for place, session_id in enumerate(ids):
            if (steps := await close_session(call, session_id)) != groups[
                place // shape.rows
            ].index:
                raise BenchProblem(f"a session took {steps} steps, not as many as were sent")
        await call.done_writing()
    return sample


async def _converse(call: Any, groups: list[Group], rows: int, window: Window) -> None:
    for group in groups:
        await call.write(group.frame())
    under_way = len(groups)
    while under_way:
        reply = await call.read()
        if not isinstance(reply, bytes):
            raise BenchProblem(describe(reply))
        for event in v1.EventFrame.FromString(reply).events:
            number, place = divmod(event.id - FIRST_ID, rows)
            if not event.HasField("stepped"):
                raise BenchProblem(f"a step failed: {str(event)[:300]}")
            if groups[number].answered(place, event.stepped):
                window.count(rows, time.perf_counter() - groups[number].sent_s)
                if window.over:
                    under_way -= 1
                else:
                    await call.write(groups[number].frame())


async def echo_frames(load: Load, shape: FrameShape) -> Sample:
    """Messages of a frame's size each way against the bare wire, `in_flight` under way."""
    async with open_channels(load.target, load.client) as (channel,):
        steps = [step_bytes("e" * ID_CHARACTERS, p, load, p + FIRST_ID) for p in range(shape.rows)]
        size = sum(len(step.reply_head(1000)) + step.reply_bytes for step in steps)
        method: Any = channel.stream_stream(f"/{SERVICE}/{load.model}")
        call = method(metadata=((REPLY_BYTES, str(size)),))
        window = Window(load.pids, load.span)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_echo(call, steps, shape, window))
            sample = await window.run()
        await call.done_writing()
    return sample


async def _echo(call: Any, steps: list[StepBytes], shape: FrameShape, window: Window) -> None:
    index = 0
    sent_s = [time.perf_counter()] * shape.in_flight
    for _ in range(shape.in_flight):
        await call.write(b"".join([step.request(index) for step in steps]))
    while not window.over:
        await call.read()
        place = index % shape.in_flight
        window.count(shape.rows, time.perf_counter() - sent_s[place])
        index += 1
        sent_s[place] = time.perf_counter()
        await call.write(b"".join([step.request(index) for step in steps]))
