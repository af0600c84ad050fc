"""How long a server's health takes to answer, asked all the while from a process of its own."""

import asyncio
import multiprocessing
import os
import signal
import time
from contextlib import suppress
from multiprocessing.connection import Connection

import numpy as np

from rnnserve_bench.cores import pinned
from rnnserve_bench.errors import BenchProblem
from rnnserve_bench.light_channel import LightChannel

CHECK = "/grpc.health.v1.Health/Check"
SERVING = b"\x08\x01"
EVERY_S = 0.05
END_TIMEOUT_S = 20.0


class HealthProber:
    """A context manager; `checks` are there after it."""

    def __init__(self, target: str, core: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs, target), daemon=True)
        with pinned(core):
            self._process.start()
        theirs.close()
        self.checks = np.zeros((0, 2))
        """Of each, when it was due on the monotonic clock, and the seconds from then to its answer.
        """

    def __enter__(self) -> "HealthProber":
        if self._hear() != "ready":
            raise BenchProblem("the health prober did not start")
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._pipe.send("stop")
                self.checks = np.array(self._hear()).reshape(-1, 2)
        finally:
            self._pipe.close()
            self._process.join(1.0)
            if self._process.is_alive():
                self._process.kill()
                self._process.join()

    def _hear(self) -> object:
        """Raises BenchProblem for what went wrong over there."""
        if not self._pipe.poll(END_TIMEOUT_S):
            raise BenchProblem("a health check was not answered")
        try:
            said = self._pipe.recv()
        except EOFError:
            raise BenchProblem("the health prober has died") from None
        if isinstance(said, BenchProblem):
            raise said
        return said


def _work(pipe: Connection, target: str) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(PermissionError):
        # What waits for a core here would look like a slow server.
        os.setpriority(os.PRIO_PROCESS, 0, -5)
    try:
        asyncio.run(_check(pipe, target))
    except (BrokenPipeError, EOFError):
        return
    except (BenchProblem, OSError) as error:
        pipe.send(BenchProblem(f"health: {error}"))


async def _check(pipe: Connection, target: str) -> None:
    channel = LightChannel(target)
    await channel.channel_ready()
    call = channel.unary_unary(CHECK)
    pipe.send("ready")
    checks: list[tuple[float, float]] = []
    due_s = time.monotonic()
    while not pipe.poll():
        await asyncio.sleep(due_s - time.monotonic())
        if await call(b"") != SERVING:
            raise BenchProblem("the server does not say SERVING")
        checks.append((due_s, time.monotonic() - due_s))
        due_s += EVERY_S
    pipe.send(checks)
