"""An engine, what each of its sessions has to be, and the comparing of the two."""

import pytest

from laws.mirror import Mirror
from laws.talk import Talk
from rnnserve.engine.backlog import BacklogLimits
from rnnserve.engine.batcher import BatchLimits
from rnnserve.engine.rounds import Work
from rnnserve.engine.session import SessionLimits, State
from rnnserve.engine.table import TableLimits
from rnnserve.errors import Reason, Refusal
from small_models import SmallModel, V
from synchronous_engine import SynchronousEngine, failing_on

POISON = V - 1
MAX_CHUNK_STEPS = 10
MAX_SESSIONS = 6
MAX_WAITING_STEPS = 60
MAX_PENDING = 3
KEPT = 3
IDLE_S, LIFE_S = 30, 60


class Ground:
    """Compares the engine with the mirrors of its sessions."""

    def __init__(self, model: SmallModel) -> None:
        self.small = model
        self.engine = SynchronousEngine(
            model,
            run=failing_on(POISON, model.runner().run),
            batches=BatchLimits(max_rows=3, max_block_steps=4),
            sessions=SessionLimits(
                max_chunk_steps=MAX_CHUNK_STEPS, max_pending_chunks=MAX_PENDING, kept_replies=KEPT
            ),
            table=TableLimits(MAX_SESSIONS, idle_timeout_s=IDLE_S, max_life_s=LIFE_S),
            backlog=BacklogLimits(max_steps=MAX_WAITING_STEPS),
        )
        self.live: dict[str, Mirror] = {}
        self.gone: dict[str, Reason] = {}
        self.talks: dict[str, Talk] = {}
        self.blobs: list[tuple[bytes, Mirror]] = []
        self.held: Work | None = None
        self.again: list[tuple[list, list]] = []
        """Outcomes of a chunk, and of the same one sent again."""
        self.most_live = 0

    def pick(self, who: int) -> Mirror:
        return list(self.live.values())[who % len(self.live)]

    def refused(self, session_id: str) -> Reason:
        with pytest.raises(Refusal) as error:
            self.engine.submit(session_id, 0, [1])
        return error.value.reason

    def may(self, mirror: Mirror) -> bool:
        """Whether the session takes operations; one that doesn't has to say why."""
        reason = self.due(mirror)
        if reason is None and mirror.closing:
            reason = Reason.SESSION_CLOSED
        if reason is None and mirror.id in self.talks:
            reason = Reason.SESSION_BUSY
        if reason is None:
            mirror.used_s = self.engine.now_s
            return True
        assert self.refused(mirror.id) is reason
        return False

    def finish_run(self) -> None:
        assert self.held is not None
        self.engine.finish(self.held)
        self.held = None

    def expire(self) -> None:
        due = {mirror.id for mirror in self.live.values() if self.due(mirror)}
        assert self.engine.engine.table.expire() == len(due)
        assert not due & self.engine.model.sessions.keys()

    def check(self) -> None:
        """Take what has happened, and hold everything against everything."""
        self.most_live = len(self.live.keys() | self.engine.model.sessions.keys())
        for mirror in list(self.live.values()):
            mirror.settle()
        for session_id, talk in list(self.talks.items()):
            talk.check_tokens()
            if talk.heard.ends:
                del self.talks[session_id]
                talk.mirror.answered_s = self.engine.now_s
                talk.settle(self.engine.steps(session_id))
        for first, again in self.again:
            assert first == again
        self.again = [pair for pair in self.again if not pair[0]]
        self._check_ends()
        for session_id, session in self.engine.model.sessions.items():
            if session.state is State.OPEN:
                self.live[session_id].check_carry(self.engine.carry(session_id))
                self.live[session_id].check_stand(session)
        assert self.engine.audit() == []

    def end(self) -> None:
        """Let everything come to its end; then nothing is left."""
        if self.held is not None:
            self.finish_run()
        while self.talks:
            self.engine.run_all()
            for talk in self.talks.values():
                assert talk.generation is not None
                talk.generation.resume()
            self.check()
        self.engine.run_all()
        self.check()
        assert not any(mirror.acts for mirror in self.live.values())
        assert not self.engine.model.generations
        assert (self.engine.backlog.steps, self.engine.backlog.bytes) == (0, 0)

    def _check_ends(self) -> None:
        """Sessions that are no longer there had to go."""
        for session_id in self.live.keys() - self.engine.model.sessions.keys():
            mirror = self.live.pop(session_id)
            reason = self.due(mirror)
            assert reason is not None, "a session has gone before its time"
            self.gone[session_id] = reason
        assert self.live.keys() == self.engine.model.sessions.keys()

    def due(self, mirror: Mirror) -> Reason | None:
        """Why the session is to end now, or None."""
        if mirror.acts or mirror.id in self.talks:
            return None
        now_s = self.engine.now_s
        if now_s - mirror.opened_s >= LIFE_S:
            return Reason.SESSION_TOO_OLD
        idle_s = now_s - max(mirror.used_s, mirror.answered_s)
        return Reason.SESSION_EXPIRED if idle_s >= IDLE_S else None

    def no_room(self) -> bool:
        return sum(not self.due(mirror) for mirror in self.live.values()) >= MAX_SESSIONS
