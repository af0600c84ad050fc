"""Streams opened and cancelled by the thousand, at every point of their way."""

import asyncio
import time

from rnnserve.client import Client
from rnnserve.v1 import rnnserve_pb2 as v1
from rnnserve_bench.capacity.finding import Check, Finding
from rnnserve_bench.channels import open_channels
from rnnserve_bench.cores import resident_bytes
from rnnserve_bench.errors import BenchProblem
from rnnserve_bench.models import MAIN
from rnnserve_bench.process import RnnServer
from rnnserve_bench.rig import Rig
from rnnserve_bench.soak.talk import Talk, tokens

GROWTH_MB = 10.0
MB = 1e6
AT_ONCE = 32
IDLE_TIMEOUT_S = 1.0
SETTLE_S = 30.0
PART = 2_000
"""Streams in one call of the worker."""


def cancelled_streams(rig: Rig, streams: int, warm: int) -> Finding:
    """Memory before and after, both times with no session left."""
    options = ("--idle-timeout-s", str(IDLE_TIMEOUT_S), "--max-sessions", "65536")
    server = rig.fresh_server(MAIN, *options)
    try:
        with Client(server.target) as client:
            rate = _drive(rig, server, warm)
            before_mb = _settled_mb(server, client)
            halfway_mb = []
            for _ in range(4):
                rate = _drive(rig, server, streams // 4)
                halfway_mb.append(_settled_mb(server, client))
            problems = client.audit().problems
    finally:
        server.stop_politely()
    if problems:
        raise BenchProblem(f"the books don't agree: {'; '.join(problems)}")
    return Finding(
        "cancel",
        f"{streams:,} streams opened and cancelled",
        f"{MAIN.title}; {AT_ONCE} at once on one connection: a quarter is cancelled with nothing "
        "sent, one with an open on its way, one with a step on its way, one after its answer. "
        "Sessions are never closed, and idle out after 1 s. Memory is what is resident once none "
        f"is left; {warm:,} such streams went before.",
        (Check("growth", halfway_mb[-1] - before_mb, GROWTH_MB, "MB"),),
        {
            "before (MB)": before_mb,
            **{f"after {n} quarters (MB)": mb for n, mb in enumerate(halfway_mb, 1)},
            "streams/s": rate,
        },
    )


def _drive(rig: Rig, server: RnnServer, streams: int) -> float:
    """Streams a second."""
    began_s = time.monotonic()
    for first in range(0, streams, PART):
        count = min(PART, streams - first)
        rig.on_client_core.call(open_and_cancel, server.target, MAIN.name, count)
    return streams / (time.monotonic() - began_s)


async def open_and_cancel(target: str, model: str, streams: int) -> None:
    """So many streams, on one connection. Raises BenchProblem for a wrong answer."""
    async with open_channels(target, "light") as (channel,):
        numbers = iter(range(streams))

        async def one_by_one() -> None:
            for number in numbers:
                await _one(Talk(channel, model), number % 4, model)

        await asyncio.gather(*(one_by_one() for _ in range(AT_ONCE)))


async def _one(talk: Talk, kind: int, model: str) -> None:
    if kind == 1:
        await talk.say(v1.Operation(open=v1.Open(model=model)))
    elif kind >= 2:
        session = await talk.open()
        if kind == 2:
            step = v1.Step(session_id=session, inputs=[tokens(1)])
            await talk.say(v1.Operation(step=step))
        else:
            await talk.step(session, 0, [1])
    talk.call.cancel()
    await asyncio.sleep(0)


def _settled_mb(server: RnnServer, client: Client) -> float:
    """What is resident when all sessions have ended. Raises BenchProblem when they don't."""
    until_s = time.monotonic() + SETTLE_S
    while client.audit().sessions:
        if time.monotonic() > until_s:
            raise BenchProblem("sessions of cancelled streams are left")
        time.sleep(0.1)
    time.sleep(IDLE_TIMEOUT_S)
    return resident_bytes(server.pid) / MB
