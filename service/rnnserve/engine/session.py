"""A session's life and its step index: a state machine without clock, await or socket.

    OPEN --begin--> BUSY --commit/abort of the last chunk--> OPEN
    OPEN, BUSY --end--> CLOSED

Every chunk names the time index of its first step. The rules, for an index i, with `admitted` the
steps taken plus those under way:

    i == admitted                    new: computed, committed, answered
    i is under way or still kept     the same input: the same answer, no second advance
                                     another input: other_input
    i <  admitted otherwise          index_past: answered, and no longer kept
    i >  admitted                    index_gap, with the index expected

A chunk that fails leaves the session as before it; chunks behind it are then gaps.
"""

from collections import OrderedDict, deque
from dataclasses import dataclass, replace
from enum import Enum

from rnnserve.engine.chunk import Chunk, Reply
from rnnserve.engine.slots import Lease
from rnnserve.errors import Reason, Refusal
from rnnserve.repository.spec import ModelSpec


class State(Enum):
    OPEN = "open"
    """Waits for its next chunk."""
    BUSY = "busy"
    """At least one chunk is under way."""
    CLOSED = "closed"
    """Ended; takes nothing more."""


@dataclass(frozen=True)
class SessionLimits:
    """What one session may ask for at once, and what is kept for it."""

    max_chunk_steps: int = 4096
    max_pending_chunks: int = 32
    kept_replies: int = 32
    kept_bytes: int = 256 * 1024
    max_reply_bytes: int = 16 << 20

    def for_outputs(self, spec: ModelSpec) -> "SessionLimits":
        """With chunks no longer than their reply may be large."""
        step_bytes = sum(tensor.step_bytes for tensor in spec.outputs)
        steps = max(1, min(self.max_chunk_steps, self.max_reply_bytes // max(1, step_bytes)))
        return replace(self, max_chunk_steps=steps)


@dataclass(frozen=True, slots=True)
class Kept:
    digest: bytes
    reply: Reply
    size_bytes: int


class Session:
    """One client's live stateful stream. The one owner of its index and its kept replies."""

    def __init__(self, session_id: str, lease: Lease, limits: SessionLimits) -> None:
        self.id = session_id
        self.lease = lease
        self.limits = limits
        self.steps = 0
        """Steps taken and committed."""
        self.answered_s = 0.0
        """When the last chunk was committed, on the engine's clock."""
        self.pending: deque[Chunk] = deque()
        self._kept: OrderedDict[int, Kept] = OrderedDict()
        self._kept_bytes = 0
        self._ended = False

    @property
    def state(self) -> State:
        if self._ended:
            return State.CLOSED
        return State.BUSY if self.pending else State.OPEN

    @property
    def admitted(self) -> int:
        """The index that the next new chunk must have."""
        last = self.pending[-1] if self.pending else None
        return last.index + last.steps if last else self.steps

    def begin(self, index: int, steps: int, digest: bytes) -> Reply | Chunk | None:
        """Ask whether a chunk may come in; changes nothing.

        Returns None for a new chunk (then `admit` it), the kept Reply of one already answered, or
        the Chunk under way that it repeats. Raises Refusal by the rules above.
        """
        if self._ended:
            raise Refusal(Reason.SESSION_CLOSED, "the session is closed", session=self.id)
        if index == self.admitted:
            self._refuse_too_much(steps)
            return None
        if index > self.admitted:
            raise Refusal(
                Reason.INDEX_GAP,
                f"step {index} came, step {self.admitted} is the next one",
                expected=self.admitted,
            )
        earlier: Chunk | Kept | None = self._kept.get(index) or next(
            (chunk for chunk in self.pending if chunk.index == index), None
        )
        if earlier is None:
            raise Refusal(
                Reason.INDEX_PAST,
                f"step {index} was answered and its answer is no longer kept; "
                f"step {self.admitted} is the next one",
                expected=self.admitted,
            )
        if earlier.digest != digest:
            raise Refusal(
                Reason.OTHER_INPUT,
                f"step {index} came before with another input",
                expected=self.admitted,
            )
        return earlier if isinstance(earlier, Chunk) else earlier.reply

    def admit(self, chunk: Chunk) -> None:
        """Take in a chunk for which `begin` returned None."""
        self.pending.append(chunk)

    def commit(self, chunk: Chunk) -> Reply:
        """The oldest pending chunk is done: advance, keep its reply, return it."""
        if self.pending[0] is not chunk:
            raise AssertionError("chunks of a session finish in order")
        # Before anything changes: putting a long reply together may run out of memory.
        reply = chunk.reply()
        self.pending.popleft()
        self.steps += chunk.steps
        self._keep(chunk, reply)
        return reply

    def abort(self, chunk: Chunk) -> list[Chunk]:
        """The oldest pending chunk failed: drop it and all behind it, which are returned."""
        if self.pending.popleft() is not chunk:
            raise AssertionError("chunks of a session finish in order")
        behind = list(self.pending)
        self.pending.clear()
        return behind

    def end(self) -> None:
        """Take nothing more. Chunks under way are finished by those who hold them."""
        self._ended = True

    def _refuse_too_much(self, steps: int) -> None:
        if steps > self.limits.max_chunk_steps:
            raise Refusal(
                Reason.CHUNK_TOO_LONG,
                f"a chunk of {steps} steps; at most {self.limits.max_chunk_steps}",
                limit=self.limits.max_chunk_steps,
            )
        if len(self.pending) >= self.limits.max_pending_chunks:
            raise Refusal(
                Reason.TOO_MANY_PENDING,
                f"{len(self.pending)} chunks of this session are under way already; "
                "wait for an answer",
                retry_after_s=0.01,
                limit=self.limits.max_pending_chunks,
            )

    def _keep(self, chunk: Chunk, reply: Reply) -> None:
        size_bytes = sum(array.nbytes for array in reply.outputs)
        self._kept[chunk.index] = Kept(chunk.digest, reply, size_bytes)
        self._kept_bytes += size_bytes
        # The newest reply stays whatever its size: it is the one that gets lost.
        while len(self._kept) > 1 and (
            len(self._kept) > self.limits.kept_replies or self._kept_bytes > self.limits.kept_bytes
        ):
            _, oldest = self._kept.popitem(last=False)
            self._kept_bytes -= oldest.size_bytes
