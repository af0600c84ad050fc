"""Many Generate calls at once, every token delivered and counted."""

import asyncio
import time
from dataclasses import dataclass
from typing import Any

from rnnserve.v1 import rnnserve_pb2 as v1
from rnnserve_bench.channels import open_channels
from rnnserve_bench.cores import tree_cpu_s
from rnnserve_bench.errors import BenchProblem
from rnnserve_bench.load import Load
from rnnserve_bench.sample import Latency, Sample

METHOD = "/rnnserve.v1.RnnServe/Generate"
PROMPT = "It was "
TEMPERATURE = 1.0


@dataclass(frozen=True)
class Writing:
    """`calls` texts of `tokens` tokens each, written side by side."""

    calls: int
    tokens: int


async def generations(load: Load, writing: Writing) -> Sample:
    """All calls from the first request to the last answer; its latency is the first token's."""
    firsts_s: list[float] = []
    async with open_channels(load.target, load.client) as (channel,):
        began = time.perf_counter(), time.process_time(), tree_cpu_s(load.pids)
        messages = await asyncio.gather(
            *(
                _generate(channel, load.model, seed, writing, firsts_s)
                for seed in range(writing.calls)
            )
        )
        ended = time.perf_counter(), time.process_time(), tree_cpu_s(load.pids)
    wall_s, client_s, server_s = (end - start for end, start in zip(ended, began, strict=True))
    return Sample(
        steps=writing.calls * writing.tokens,
        messages=sum(messages),
        wall_s=wall_s,
        latency=Latency.of(firsts_s),
        server_cpu_s=server_s,
        client_cpu_s=client_s,
    )


async def _generate(
    channel: Any, model: str, seed: int, writing: Writing, firsts_s: list[float]
) -> int:
    """One call; the number of its messages. Raises BenchProblem unless every token came."""
    sampling = v1.Sampling(max_tokens=writing.tokens, temperature=TEMPERATURE, seed=seed)
    request = v1.GenerateRequest(model=model, text=PROMPT, sampling=sampling)
    began_s = time.perf_counter()
    call = channel.unary_stream(METHOD)(request.SerializeToString())
    messages = tokens = 0
    while isinstance(answer := await call.read(), bytes):
        reply = v1.GenerateReply.FromString(answer)
        if not messages:
            firsts_s.append(time.perf_counter() - began_s)
        messages += 1
        tokens += len(reply.tokens)
    if tokens != writing.tokens or reply.end.generated_tokens != writing.tokens:
        raise BenchProblem(f"{tokens} tokens came, {writing.tokens} were asked for: {reply.end}")
    return messages
