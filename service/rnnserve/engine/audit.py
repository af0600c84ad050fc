"""The engine's tables held against each other.

An auditor may look at any moment between two turns of the loop; what it finds is a bug.
"""

from collections import Counter
from dataclasses import dataclass

from rnnserve.engine.engine import Engine
from rnnserve.engine.model import Model
from rnnserve.engine.session import State


@dataclass(frozen=True)
class Audit:
    """What was found, and how much there is."""

    problems: tuple[str, ...]
    sessions: int
    waiting_steps: int
    waiting_bytes: int
    generations: int


def audit(engine: Engine) -> Audit:
    """Look through everything. Some microseconds a session; changes nothing."""
    problems = [problem for model in engine.served for problem in _model(model)]
    problems += _table(engine)
    problems += _backlog(engine)
    return Audit(
        tuple(problems),
        len(engine.table),
        engine.backlog.steps,
        engine.backlog.bytes,
        sum(len(model.generations) for model in engine.served),
    )


def _table(engine: Engine) -> list[str]:
    wrong = []
    entries = {entry.session.id: entry for entry in engine.table.entries()}
    held = {
        session_id: session
        for model in engine.served
        for session_id, session in model.sessions.items()
    }
    if entries.keys() != held.keys():
        wrong.append(f"{len(entries.keys() ^ held.keys())} sessions are in one table only")
    for session_id, entry in entries.items():
        if entry.model.sessions.get(session_id) is not entry.session:
            wrong.append(f"session {session_id[:6]} is another one in its model")
        if entry.session.state is State.CLOSED:
            wrong.append(f"session {session_id[:6]} is closed and still listed")
    carry_bytes = sum(entry.model.spec.carry_bytes for entry in entries.values())
    if carry_bytes != engine.table.begun_bytes:
        wrong.append(f"{engine.table.begun_bytes} carry bytes are counted, {carry_bytes} held")
    return wrong


def _backlog(engine: Engine) -> list[str]:
    pending = [
        chunk for model in engine.served for session in model.movers() for chunk in session.pending
    ]
    size_bytes = sum(
        chunk.steps * chunk.session.limits.step_bytes if chunk.shapes is None else chunk.size_bytes
        for chunk in pending
    )
    found = sum(chunk.steps for chunk in pending), size_bytes
    counted = engine.backlog.steps, engine.backlog.bytes
    if found != counted:
        return [f"{counted} steps and bytes are counted as waiting, {found} wait"]
    return []


def _model(model: Model) -> list[str]:
    wrong = model.slots.audit([session.lease for session in model.sessions.values()])
    for session in model.sessions.values():
        wrong += session.audit()
    for guest in model.guests:
        wrong += guest.audit()
        if len(guest.pending) != 1:
            wrong.append(f"a guest has {len(guest.pending)} requests")
    steps = sum(c.steps for session in model.movers() for c in session.pending)
    if steps != model.waiting_steps:
        wrong.append(f"{model.waiting_steps} steps are counted as waiting, {steps} wait")
    return wrong + _turns(model)


def _turns(model: Model) -> list[str]:
    """Everything that is to run has its turn, once."""
    wrong = []
    chunks, generations = model.batcher.waiting()
    for batch in [*model.retries, model.running] if model.running else model.retries:
        chunks = chunks + batch.chunks
        generations = generations + batch.generations
    turns = Counter(id(chunk) for chunk in chunks)
    firsts = {id(s.pending[0]) for s in model.movers() if s.pending}
    if set(turns) != firsts or any(count > 1 for count in turns.values()):
        wrong.append(f"{len(firsts)} chunks are first in their session, {len(chunks)} have a turn")
    generating = {s.id for s in model.sessions.values() if s.generating}
    if generating != {generation.session.id for generation in model.generations}:
        wrong.append("the sessions that generate are not those of the generations")
    if not set(generations) <= model.generations or len(set(generations)) != len(generations):
        wrong.append("a generation that is over, or the same one twice, has a turn")
    return wrong
