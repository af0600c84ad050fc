"""All laws at once, against a real server that is full: many clients, hundreds of sessions, and
whatever they may do, drawn from a seed.

A failure names its seed; `RNNSERVE_LAW_SEED=n` draws the same again. What is drawn follows from the
seed, what comes first on the way doesn't.
"""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import grpc.aio
import numpy as np
import pytest

from laws.load_deeds import DEEDS
from laws.load_room import Room
from laws.load_streams import Footprint, streams_come_and_go
from laws.load_world import World
from rnnserve.client import AsyncClient, ServerError
from rnnserve.errors import Fault, Reason
from rnnserve.v1 import rnnserve_pb2_grpc
from server_process import ServerProcess
from small_models import DRAWN, SmallModel, publish, small_model

SEED = int(os.environ.get("RNNSERVE_LAW_SEED", "1"))
MAX_SESSIONS = 80
CELLS = ("lstm", "gru", *DRAWN)
OPTIONS = (
    *("--max-sessions", str(MAX_SESSIONS), "--max-batch", "16"),
    *("--max-chunk-steps", "256", "--max-block-steps", "8", "--max-waiting-steps", "600"),
)
PLACES = {"on the loop": ("--max-stall-ms", "1000"), "in a thread": ("--max-stall-ms", "0")}


def models() -> list[SmallModel]:
    """Not at import: some of them take seconds to make."""
    return [small_model(cell, 2) for cell in CELLS]


@pytest.fixture(params=PLACES)
def server(request, tmp_path: Path) -> Iterator[ServerProcess]:
    """A small server that runs its batches in one place or the other."""
    for model in models():
        publish(model, tmp_path)
    with ServerProcess(tmp_path, *OPTIONS, *PLACES[request.param]) as process:
        yield process


async def test_all_laws_hold_under_load(server):
    await lives_lawfully(server, SEED, lives=88)


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(100, 106))
async def test_all_laws_hold_under_load_for_long(server, seed):
    await lives_lawfully(server, seed, lives=1000)


async def test_a_fork_whose_generation_is_left_at_its_end_is_not_left_behind(server):
    async with AsyncClient(server.target) as client, client.open("lstm2") as session:
        pieces = aiter(session.generate([1], fork=True, max_tokens=200, temperature=0.0))
        await anext(pieces)
        while (await client.audit()).generations:
            pass
        await asyncio.gather(*(client.audit() for _ in range(50)))
        await pieces.aclose()
        await asyncio.gather(*(client.audit() for _ in range(50)))
        assert (await client.audit()).sessions == 1


async def lives_lawfully(server: ServerProcess, seed: int, lives: int) -> None:
    print(f"RNNSERVE_LAW_SEED={seed}")
    async with World(server.target, models(), seed, MAX_SESSIONS, DEEDS) as world:
        await world.run(lives)
        print(dict(world.tally), dict(world.room.refusals), world.room.ledgers)
        print(f"{world.proxy.cuts} connections were cut")
        await nothing_is_left(world.clients[0])
        counted_the_same(server.metrics(), world.room)
        await there_is_room_for_all_again(world.clients[1])
        await nothing_is_left(world.clients[0])
    assert all(world.tally[deed.__name__] for deed in DEEDS)
    assert world.room.refusals[Reason.TOO_MANY_SESSIONS]
    assert world.proxy.cuts
    assert server.stop() == 0
    log = "".join(server.log)
    assert "Traceback" not in log
    assert "ERROR" not in log


async def nothing_is_left(client: AsyncClient) -> None:
    """Once the server has noticed that the last callers have gone."""
    async with asyncio.timeout(10):
        while (audit := await client.audit()).sessions or audit.generations:
            assert audit.problems == ()
    assert audit.problems == ()
    assert (audit.waiting_steps, audit.waiting_bytes) == (0, 0)


async def there_is_room_for_all_again(client: AsyncClient) -> None:
    """Every place that was ever taken has been given back, and remembers nothing."""
    opening = [client.open("lstm2") for _ in range(MAX_SESSIONS + 1)]
    sessions = await asyncio.gather(*(one.__aenter__() for one in opening), return_exceptions=True)
    refused = [session for session in sessions if isinstance(session, BaseException)]
    assert [isinstance(error, ServerError) and error.reason for error in refused] == [
        Reason.TOO_MANY_SESSIONS
    ]
    live = [session for session in sessions if not isinstance(session, BaseException)]
    answers = await asyncio.gather(*(session.step([1, 2, 3]) for session in live))
    reference = small_model("lstm", 2).reference
    _, wanted = reference(reference.initial_carry(1), np.array([[1, 2, 3]]))
    np.testing.assert_allclose(np.stack(answers), wanted.repeat(len(live), 0), atol=1e-5)
    assert await asyncio.gather(*(session.close() for session in live)) == [3] * MAX_SESSIONS


def counted_the_same(metrics: dict[str, float], room: Room) -> None:
    """The server has counted what the clients have; where they could not know, at most so much
    more."""
    for model, ledger in room.ledgers.items():
        of = f'{{model="{model}"}}'
        opened = metrics[f"rnnserve_sessions_opened_total{of}"]
        assert ledger.opened <= opened <= ledger.opened + ledger.opened_perhaps
        closed = metrics[f'rnnserve_sessions_ended_total{{cause="closed",model="{model}"}}']
        assert closed == opened
        assert metrics[f"rnnserve_sessions{of}"] == 0
        steps = metrics[f"rnnserve_steps_total{of}"] + metrics[f"rnnserve_tokens_total{of}"]
        assert ledger.steps <= steps <= ledger.steps + ledger.steps_perhaps
        resent = metrics[f"rnnserve_resends_total{of}"]
        assert ledger.resent <= resent <= ledger.resent + ledger.resent_perhaps
    errors = {
        Reason(name.split('reason="')[1].split('"')[0]): count
        for name, count in metrics.items()
        if name.startswith("rnnserve_errors_total{")
    }
    assert all(errors[reason] >= count for reason, count in room.refusals.items())
    assert not [
        reason for reason, count in errors.items() if count and reason.fault is Fault.SERVER
    ]


async def test_streams_that_come_and_go_leave_nothing_behind(tmp_path):
    """Cancelled while a step is under way, or idle. What the first streams made the server load is
    there before the measuring begins."""
    publish(small_model("lstm", 2), tmp_path)
    with ServerProcess(tmp_path) as server:
        async with grpc.aio.insecure_channel(server.target) as channel:
            stub = rnnserve_pb2_grpc.RnnServeStub(channel)
            await streams_come_and_go(stub, 500)
            before = Footprint.of(server.process.pid)
            await streams_come_and_go(stub, 2500)
            after = Footprint.of(server.process.pid)
        print(before, after)
        async with AsyncClient(server.target) as client:
            await nothing_is_left(client)
        assert server.stop() == 0
    assert after.files <= before.files
    # gRPC's own come and go by ones; a thread kept for each stream would be thousands.
    assert after.threads <= before.threads + 3
    assert after.resident_bytes - before.resident_bytes < 6 << 20
    assert "Traceback" not in "".join(server.log)
