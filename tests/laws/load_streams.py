"""Streams that are opened and cancelled, and what that leaves in a process."""

import asyncio
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from resource import getpagesize
from typing import Self

from raw_session import IDS, close, step
from rnnserve.v1 import rnnserve_pb2 as v1

AT_ONCE = 50
STEPS = 5


@dataclass(frozen=True)
class Footprint:
    """What a process holds now."""

    resident_bytes: int
    files: int
    threads: int

    @classmethod
    def of(cls, pid: int) -> Self:
        process = Path("/proc", str(pid))
        pages = int((process / "statm").read_text().split()[1])
        files, threads = (len(list((process / kind).iterdir())) for kind in ("fd", "task"))
        return cls(pages * getpagesize(), files, threads)


async def streams_come_and_go(stub, streams: int) -> None:
    """Each opens a session and is cancelled, every other one with a step under way. The session is
    closed by another call, and says whether the step has happened: whole or not at all."""
    numbers = count()

    async def visitor() -> None:
        for number in numbers:
            if number >= streams:
                return
            session_id = await _comes_and_goes(stub, with_step=number % 2 == 1)
            (event,) = (await stub.Exchange(_frame(close(session_id)))).events
            assert event.closed.steps in ((0, STEPS) if number % 2 else (0,)), event

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(visitor())


async def _comes_and_goes(stub, *, with_step: bool) -> str:
    call = stub.Stream()
    await call.write(_frame(v1.Operation(open=v1.Open(model="lstm2"))))
    (event,) = (await call.read()).events
    if with_step:
        await call.write(_frame(step(event.opened.session_id, 0, [1] * STEPS)))
    call.cancel()
    return event.opened.session_id


def _frame(operation: v1.Operation) -> v1.OperationFrame:
    operation.id = next(IDS)
    return v1.OperationFrame(operations=[operation])
