"""Sessions opened and closed, many in a frame."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import suppress

from rnnserve.client.errors import from_status
from rnnserve.v1 import rnnserve_pb2 as v1
from rnnserve_bench.errors import BenchProblem
from rnnserve_bench.light_channel import LightCall
from rnnserve_bench.traffic.driven import DrivenSession

IN_A_FRAME = 500
CLOSE_TIMEOUT_S = 5.0


async def open_all(
    call: LightCall, sessions: Sequence[DrivenSession], opening: v1.Open
) -> v1.Opened:
    """Open them all; what the server says of the last one.

    Raises BenchProblem where it refuses one; those that it has opened then have an id.
    """
    opened = v1.Opened()
    for session in sessions:
        session.session_id = ""
    by_number = {session.number: session for session in sessions}
    for batch in _batches(sessions):
        operations = [v1.Operation(id=session.number, open=opening) for session in batch]
        await call.write(v1.OperationFrame(operations=operations).SerializeToString())
        missing, problem = len(batch), ""
        while missing:
            for event in await _events(call):
                if event.HasField("opened"):
                    opened = event.opened
                    by_number[event.id].begin(opened.session_id)
                elif event.HasField("error"):
                    problem = str(from_status(event.error))
                else:  # said unasked
                    continue
                missing -= 1
        if problem:
            raise BenchProblem(f"no session: {problem}")
    return opened


async def close_all(call: LightCall, sessions: Sequence[DrivenSession]) -> None:
    """Close those that are open, and the call; nothing is raised where the server is gone."""
    with suppress(TimeoutError, BenchProblem):
        async with asyncio.timeout(CLOSE_TIMEOUT_S):
            there = [session for session in sessions if session.session_id]
            for batch in _batches(there):
                operations = [
                    v1.Operation(id=one.number, close=v1.Close(session_id=one.session_id))
                    for one in batch
                ]
                await call.write(v1.OperationFrame(operations=operations).SerializeToString())
            await call.done_writing()
            missing = len(there)
            while missing:
                # Answers to steps that were under way come in between.
                missing -= sum(not event.HasField("stepped") for event in await _events(call))
    call.cancel()


async def _events(call: LightCall) -> Sequence[v1.Event]:
    """The next frame's. Raises BenchProblem when the stream has ended."""
    reply = await call.read()
    if reply is None:
        raise BenchProblem("the server ended a stream that was just begun")
    return v1.EventFrame.FromString(reply).events


def _batches(sessions: Sequence[DrivenSession]) -> Iterator[Sequence[DrivenSession]]:
    for first in range(0, len(sessions), IN_A_FRAME):
        yield sessions[first : first + IN_A_FRAME]
