"""Those who don't behave: slow, gone without a word, cancelled, or talking nonsense."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from rnnserve.v1 import rnnserve_pb2 as v1
from rnnserve_bench.errors import BenchProblem
from rnnserve_bench.generate_load import METHOD as GENERATE
from rnnserve_bench.light_channel import LightChannel
from rnnserve_bench.session_talk import STREAM
from rnnserve_bench.soak.actors import Stage
from rnnserve_bench.soak.talk import VOCABULARY, Talk, tokens

HELD_S = 0.3
UNREAD_CHUNKS = 24
CONNECT_TIMEOUT_S = 5.0


@asynccontextmanager
async def own_connection(stage: Stage) -> AsyncIterator[LightChannel]:
    """One that may be harmed."""
    channel = LightChannel(stage.target)
    async with asyncio.timeout(CONNECT_TIMEOUT_S):
        await channel.channel_ready()
    try:
        yield channel
    finally:
        channel.connection.abort()


async def reads_slowly(stage: Stage) -> None:
    """Asks for much, doesn't read for a while, and then gets every answer."""
    async with own_connection(stage) as channel:
        talk = Talk(channel, stage.model)
        session = await talk.open()
        channel.connection.hold(True)
        for place in range(UNREAD_CHUNKS):
            step = v1.Step(session_id=session, index=64 * place, inputs=[tokens(*stage.ids(64))])
            await talk.say(v1.Operation(step=step))
        await asyncio.sleep(HELD_S)
        channel.connection.hold(False)
        for place in range(UNREAD_CHUNKS):
            if (await talk.hear()).stepped.index != 64 * place:
                raise BenchProblem("a slow reader's answers are out of order")
        await talk.close(session, 64 * UNREAD_CHUNKS)
        await talk.leave()


async def vanishes(stage: Stage) -> None:
    """Is gone in the middle of its steps, and never reads again."""
    async with own_connection(stage) as channel:
        talk = Talk(channel, stage.model)
        session = await talk.open()
        chunk = [tokens(*stage.ids(stage.rng.choice((1, 64))))]
        await talk.say(v1.Operation(step=v1.Step(session_id=session, inputs=chunk)))
        if stage.rng.random() < 0.5:
            await talk.hear()


async def cancels(stage: Stage) -> None:
    """A call that is cancelled somewhere on its way: before anything, opened, stepping, writing."""
    talk = Talk(stage.channel, stage.model)
    match stage.rng.randrange(4):
        case 0:
            await talk.say(v1.Operation(open=v1.Open(model=stage.model)))
        case 1:
            await talk.open()
        case 2:
            session = await talk.open()
            step = v1.Step(session_id=session, inputs=[tokens(*stage.ids(64))])
            await talk.say(v1.Operation(step=step))
        case _:
            talk.call.cancel()
            await _breaks_off_a_text(stage)
    talk.call.cancel()


async def _breaks_off_a_text(stage: Stage) -> None:
    sampling = v1.Sampling(max_tokens=2000, seed=1)
    request = v1.GenerateRequest(model=stage.model, text="a", sampling=sampling)
    call = stage.channel.stream_stream(GENERATE)()
    await call.write(request.SerializeToString())
    await call.done_writing()
    await call.read()
    call.cancel()


async def talks_nonsense(stage: Stage) -> None:
    """Operations that are wrong in every way, beside a session that they don't touch."""
    talk = Talk(stage.channel, stage.model)
    session = await talk.open()
    first = stage.ids(2)
    await talk.step(session, 0, first)
    others = [(token + 1) % VOCABULARY for token in first]

    def step(**fields: object) -> v1.Operation:
        whole = {"session_id": session, "index": 2, "inputs": [tokens(1)], **fields}
        return v1.Operation(step=v1.Step(**whole))  # type: ignore[arg-type]

    wrong = {
        "index_gap": step(index=9),
        "unknown_session": step(session_id="f" * 32),
        "wrong_size": step(inputs=[b"123"]),
        "wrong_input_count": step(inputs=[]),
        "value_out_of_range": step(inputs=[(VOCABULARY + 5).to_bytes(8, "little")]),
        "other_input": step(index=0, inputs=[tokens(*others)]),
        "unknown_model": v1.Operation(open=v1.Open(model="nobody")),
        "missing_field": v1.Operation(),
    }
    for reason, operation in wrong.items():
        if (found := await talk.refused(operation)) not in (reason, "index_past"):
            raise BenchProblem(f"{reason} was to be refused; it was {found}")
    await talk.step(session, 2, stage.ids(2))
    await talk.close(session, 4)
    await talk.leave()


async def sends_rubbish(stage: Stage) -> None:
    """Bytes that are no message, and bytes that are no HTTP/2."""
    call = stage.channel.stream_stream(STREAM)()
    await call.write(stage.rng.randbytes(stage.rng.randrange(1, 200)))
    call.cancel()
    host, _, port = stage.target.rpartition(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(stage.rng.randbytes(300))
    writer.close()
