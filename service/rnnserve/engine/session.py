"""A session's life and its step index: a state machine without clock, await or socket.

    OPEN --admit, generate--> BUSY --the last chunk's end, the generation's end--> OPEN
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

import hashlib
from dataclasses import dataclass, replace
from enum import Enum
from functools import cached_property

from rnnserve.engine.chunk import Chunk, Memory
from rnnserve.engine.slots import Lease
from rnnserve.errors import Reason, Refusal
from rnnserve.repository.spec import ModelSpec, Shape


class State(Enum):
    OPEN = "open"
    """Waits for its next chunk."""
    BUSY = "busy"
    """At least one chunk is under way, or a generation."""
    CLOSED = "closed"
    """Ended; takes nothing more."""


@dataclass(frozen=True)
class SessionLimits:
    """What one session may ask for at once, and what is kept for it."""

    max_chunk_steps: int = 4096
    max_pending_chunks: int = 32
    max_pending_bytes: int = 64 << 20
    kept_replies: int = 32
    """As many as chunks may be pending: a client whose stream broke may ask for all of them."""
    kept_bytes: int = 256 * 1024
    max_reply_bytes: int = 2 << 20
    step_bytes: int = 1
    """Inputs and outputs of one step; known for a model."""

    def for_model(self, spec: ModelSpec) -> "SessionLimits":
        """With chunks no longer than their reply may be large; where messages bring their shapes,
        one is one step, and the last answer alone is kept."""
        if spec.is_shaped:
            return replace(self, max_chunk_steps=1, kept_replies=min(1, self.kept_replies))
        steps = max(1, min(self.max_chunk_steps, self.max_reply_bytes // max(1, spec.reply_bytes)))
        return replace(self, max_chunk_steps=steps, step_bytes=spec.step_bytes)

    @cached_property
    def kept_steps(self) -> int:
        """How many steps `kept_bytes` are."""
        return self.kept_bytes // self.step_bytes


class Session:
    """One client's live stateful stream. The one owner of its index and its kept replies."""

    __slots__ = (
        *("id", "lease", "limits", "steps", "admitted", "answered_s", "pending"),
        *("latest", "generating", "origin", "correlation"),
        *("chunks", "tokens", "resends", "failures"),
        *("_kept", "_kept_steps", "_begun", "_ended"),
    )

    def __init__(
        self, session_id: str, lease: Lease, limits: SessionLimits, steps: int = 0
    ) -> None:
        self.id = session_id
        self.lease = lease
        self.limits = limits
        self.steps = steps
        """Steps taken and committed."""
        self.admitted = steps
        """The index that the next new chunk must have: steps taken and under way."""
        self.answered_s = 0.0
        """When the last chunk was committed, on the engine's clock."""
        self.pending: list[Chunk] = []
        """Chunks under way; only the first one runs."""
        self.latest: Memory | None = None
        """The last answer since the carry began; a generation may go on from it."""
        self.generating = False
        """A generation moves it, and nobody else may."""
        self.origin = 0
        """The index at which the carry began."""
        self.correlation: int | str | None = None
        """What its client calls it, where it is a sequence: then no step has an index, and one that
        fails leaves those behind it in line."""
        self.chunks = self.tokens = self.resends = self.failures = 0
        """Chunks answered, tokens generated, chunks answered again, chunks without an answer."""
        self._kept: list[Chunk] = []
        """Answered chunks, the oldest first. Looked through for a resend alone."""
        self._kept_steps = 0
        self._begun: tuple[int, bytes] | None = None
        """Where the carry last began anew, after the first time, and what tells from what."""
        self._ended = False

    @property
    def state(self) -> State:
        if self._ended:
            return State.CLOSED
        return State.BUSY if self.pending or self.generating else State.OPEN

    def begin(
        self,
        index: int,
        steps: int,
        inputs: Memory,
        shapes: tuple[Shape, ...] | None = None,
    ) -> Chunk | None:
        """Ask whether a chunk may come in; changes nothing.

        Returns None for a new chunk (then `admit` it), or the one it repeats: under way, or with
        its answer. Raises Refusal by the rules above.
        """
        if self._ended:
            raise Refusal(Reason.SESSION_CLOSED, "the session is closed", session=self.id)
        if index == self.admitted:
            if self.pending or steps > self.limits.max_chunk_steps:
                self._refuse_too_much(steps)
            return None
        if index > self.admitted:
            raise Refusal(
                Reason.INDEX_GAP,
                f"step {index} came, step {self.admitted} is the next one",
                expected=self.admitted,
            )
        known = (*self._kept, *self.pending)
        earlier = next((chunk for chunk in known if chunk.index == index), None)
        if earlier is None:
            raise Refusal(
                Reason.INDEX_PAST,
                f"step {index} was answered and its answer is no longer kept; "
                f"step {self.admitted} is the next one",
                expected=self.admitted,
            )
        if earlier.steps != steps or not earlier.repeats(inputs, shapes):
            raise Refusal(
                Reason.OTHER_INPUT,
                f"step {index} came before with another input",
                expected=self.admitted,
            )
        return earlier

    def admit(self, chunk: Chunk) -> bool:
        """Take in a chunk for which `begin` returned None; returns whether it may run at once."""
        self.pending.append(chunk)
        self.admitted += chunk.steps
        return len(self.pending) == 1

    def commit(self, chunk: Chunk, now_s: float) -> Chunk | None:
        """The oldest pending chunk has its answer: advance, keep it; returns the next to run."""
        pending, kept, steps = self.pending, self._kept, chunk.steps
        if pending.pop(0) is not chunk:
            raise AssertionError("chunks of a session finish in order")
        self.steps += steps
        self.chunks += 1
        self.answered_s = now_s
        if chunk.shapes is None:
            self.latest = chunk.answer if steps == 1 else chunk.last_step()
        kept.append(chunk)
        self._kept_steps += steps
        if len(kept) > self.limits.kept_replies or self._kept_steps > self.limits.kept_steps:
            self._forget()
        if steps > 1:
            chunk.shrink()
        return pending[0] if pending else None

    def abort(self, chunk: Chunk) -> list[Chunk]:
        """The oldest pending chunk failed: drop it and all behind it; returns all of them. In a
        sequence those behind it stay, each earlier by what was dropped."""
        if self.pending[0] is not chunk:
            raise AssertionError("chunks of a session finish in order")
        if self.correlation is not None:
            del self.pending[0]
            for later in self.pending:
                later.index -= chunk.steps
            self.admitted -= chunk.steps
            return [chunk]
        dropped, self.pending = self.pending, []
        self.admitted = self.steps
        return dropped

    def advance(self, steps: int) -> None:
        """A generation took steps."""
        self.steps += steps
        self.admitted = self.steps

    def begin_anew(self, index: int, carry: bytes) -> bool:
        """The carry is to begin anew at this index; False where that happened already and steps
        have been taken since: a reset that comes again forgets nothing. `carry` is what it begins
        with.

        Raises Refusal: index_gap and index_past when the session stands elsewhere, other_input when
        it began there with another carry.
        """
        mark = hashlib.blake2b(carry, digest_size=16).digest()
        if self._begun is not None and index == self._begun[0] < self.steps:
            if mark != self._begun[1]:
                raise Refusal(
                    Reason.OTHER_INPUT, f"the reset at {index} came before with another carry"
                )
            return False
        self.at(index)
        self._begun = index, mark
        self.origin = index
        self.latest = None
        return True

    def at(self, index: int | None) -> None:
        """Refuse (index_gap, index_past) when the session doesn't stand at this index."""
        if index is None or index == self.steps:
            return
        raise Refusal(
            Reason.INDEX_GAP if index > self.steps else Reason.INDEX_PAST,
            f"the session stands at step {self.steps}, not {index}",
            expected=self.steps,
        )

    def end(self) -> None:
        """Take nothing more. Chunks under way are finished by those who hold them."""
        self._ended = True
        # They point back here.
        self._kept.clear()
        self._kept_steps = 0

    def audit(self) -> list[str]:
        """What is wrong, in words."""
        wrong = []
        index = self.steps
        for chunk in self.pending:
            if chunk.index != index:
                wrong.append(f"a chunk stands at {chunk.index}, not {index}")
            if chunk.listener is None:
                wrong.append(f"nobody listens to the chunk at {chunk.index}")
            index += chunk.steps
        if index != self.admitted:
            wrong.append(f"admitted is {self.admitted}, not {index}")
        kept_steps = sum(chunk.steps for chunk in self._kept)
        if kept_steps != self._kept_steps:
            wrong.append(f"{self._kept_steps} kept steps are counted, {kept_steps} kept")
        if any(chunk.answer is None for chunk in self._kept):
            wrong.append("a chunk without an answer is kept")
        if self.generating and self.pending and len(self.pending) > 1:
            wrong.append("a generation has several chunks under way")
        return [f"session {self.id[:6]}: {problem}" for problem in wrong]

    def _refuse_too_much(self, steps: int) -> None:
        limits = self.limits
        if steps > limits.max_chunk_steps:
            raise Refusal(
                Reason.CHUNK_TOO_LONG,
                f"a chunk of {steps} steps; at most {limits.max_chunk_steps}",
                limit=limits.max_chunk_steps,
            )
        # A chunk that is alone may have any size that its steps allow.
        pending_bytes = (self.admitted - self.steps + steps) * limits.step_bytes
        if self.pending and (
            len(self.pending) >= limits.max_pending_chunks
            or pending_bytes > limits.max_pending_bytes
        ):
            raise Refusal(
                Reason.TOO_MANY_PENDING,
                f"{len(self.pending)} chunks of this session are under way already, and this one "
                f"would make it {pending_bytes} bytes; wait for an answer",
                retry_after_s=0.01,
                limit=limits.max_pending_chunks,
            )

    def _forget(self) -> None:
        """Let the oldest answers go."""
        kept, limits = self._kept, self.limits
        # The newest one stays whatever its size: it is the one that gets lost.
        while len(kept) > limits.kept_replies or (
            self._kept_steps > limits.kept_steps and len(kept) > 1
        ):
            self._kept_steps -= kept.pop(0).steps
