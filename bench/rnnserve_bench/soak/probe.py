"""One session from outside all the rest: are its answers right, and how long do they take?"""

import asyncio
import time

import numpy as np

from rnnserve_bench.channels import CONNECT_TIMEOUT_S
from rnnserve_bench.errors import BenchProblem
from rnnserve_bench.light_channel import LightChannel
from rnnserve_bench.session_talk import LOGIT_BYTES
from rnnserve_bench.soak.talk import VOCABULARY, Talk

EVERY_S = 0.02
TOLERANCE = 1e-4


async def probe(
    target: str, model: str, ids: list[int], reference: np.ndarray, seconds: float
) -> list[float]:
    """Latencies in seconds, each from when the step was due.

    Single steps of `ids`, again and again, held against `reference` (T, V), the logits of the graph
    run alone. Raises BenchProblem for a wrong one.
    """
    channel = LightChannel(target)
    async with asyncio.timeout(CONNECT_TIMEOUT_S):
        await channel.channel_ready()
    latencies_s: list[float] = []
    due_s = began_s = time.monotonic()
    try:
        while due_s < began_s + seconds:
            talk = Talk(channel, model)
            session = await talk.open()
            due_s = max(due_s, time.monotonic())
            for index, token in enumerate(ids):
                await asyncio.sleep(due_s - time.monotonic())
                answer = await talk.step(session, index, [token])
                latencies_s.append(time.monotonic() - due_s)
                _check(answer, reference[index])
                due_s += EVERY_S
                if due_s >= began_s + seconds:
                    break
            await talk.close(session, index + 1)
            await talk.leave()
    finally:
        await channel.close()
    return latencies_s


def _check(answer: bytes, expected: np.ndarray) -> None:
    assert len(answer) == VOCABULARY * LOGIT_BYTES
    off = float(np.abs(np.frombuffer(answer, "<f4") - expected).max())
    if not off <= TOLERANCE:
        raise BenchProblem(f"the probe's logits are off by {off:.1e}")
