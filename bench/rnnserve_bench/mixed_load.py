"""One stream of single steps beside many of long chunks: what company costs the small one."""

import asyncio
from dataclasses import dataclass, replace

from rnnserve_bench.channels import open_channels
from rnnserve_bench.load import Load, Window, repeat
from rnnserve_bench.sample import Sample
from rnnserve_bench.session_talk import SessionTalk


@dataclass(frozen=True)
class Company:
    """The others: `streams` of them, each with one chunk of `chunk_steps` under way."""

    streams: int
    chunk_steps: int


async def beside(load: Load, company: Company) -> Sample:
    """Measure the single steps; the company's steps are the fact `company_steps`."""
    others = replace(load, streams=company.streams, chunk_steps=company.chunk_steps)
    # A connection of its own: the small one is another client.
    async with open_channels(load.target, load.client, 2) as channels:
        small = await SessionTalk.join(channels[0], load, 0)
        large = [await SessionTalk.join(channels[1], others, p) for p in range(others.streams)]
        window, background = Window(load.pids, load.span), Window((), load.span)
        async with asyncio.TaskGroup() as group:
            group.create_task(repeat(small, window))
            for talk in large:
                group.create_task(repeat(talk, background))
            counted = group.create_task(background.run())
            sample = await window.run()
        sample.facts["company_steps"] = float(counted.result().steps)
        await asyncio.gather(small.leave(), *(talk.leave() for talk in large))
    return sample
