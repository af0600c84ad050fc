"""What the state machine does to sessions, each thing to the engine and to its mirror."""

from functools import partial

import pytest

from heard import Heard
from laws.ground import (
    KEPT,
    MAX_CHUNK_STEPS,
    MAX_PENDING,
    MAX_SESSIONS,
    MAX_WAITING_STEPS,
    POISON,
    Ground,
)
from laws.mirror import Act, Mirror, Sent, carry_of
from laws.talk import Talk
from rnnserve.engine import blob as blobs
from rnnserve.engine import initial
from rnnserve.engine.generation import Verdict
from rnnserve.errors import Reason, Refusal
from small_models import V
from synchronous_engine import logits


class World(Ground):
    """Does what may be done, and knows what has to come of it."""

    def open(self, seed: int | None) -> None:
        rows = None if seed is None else initial.random(self.small.spec, seed)
        if self.no_room():
            with pytest.raises(Refusal) as error:
                self.engine.open(rows)
            assert error.value.reason is Reason.TOO_MANY_SESSIONS
            return
        now_s = self.engine.now_s
        mirror = Mirror(self.small, self.engine.open(rows), carry_of(self.small, rows), now_s)
        mirror.used_s = now_s
        self.live[mirror.id] = mirror

    def step(self, mirror: Mirror, sent: list[int], timeout_s: int | None) -> None:
        if not self.may(mirror):
            return
        index, now_s, wanted = mirror.admitted, self.engine.now_s, None
        if len(mirror.under_way) >= MAX_PENDING:
            wanted = Reason.TOO_MANY_PENDING
        elif timeout_s == 0 and self.engine.model.waiting_steps:
            wanted = Reason.TOO_LATE
        elif self.engine.backlog.steps + len(sent) > MAX_WAITING_STEPS:
            wanted = Reason.OVERLOADED
        more = () if timeout_s is None else (timeout_s,)
        if wanted is not None:
            with pytest.raises(Refusal) as error:
                self.engine.submit(mirror.id, index, sent, *more)
            assert error.value.reason is wanted
            assert error.value.retry_after_s
            return
        chunk = Sent(index, sent, self.engine.submit(mirror.id, index, sent, *more))
        mirror.under_way.append(chunk)

        def settle(outcome) -> None:
            mirror.answered_s = self.engine.now_s
            in_time = timeout_s is None or self.engine.now_s < now_s + timeout_s
            mirror.check_step(chunk, outcome, poisoned=POISON in sent, in_time=in_time)

        mirror.acts.append(Act(settle, chunk.outcome, len(sent)))

    def step_beyond(self, mirror: Mirror, sent: list[int], beyond: int) -> None:
        if self.may(mirror):
            with pytest.raises(Refusal) as error:
                self.engine.submit(mirror.id, mirror.admitted + beyond, sent)
            assert error.value.reason is Reason.INDEX_GAP
            assert error.value.facts["expected"] == str(mirror.admitted)

    def send_again(self, mirror: Mirror, which: int, other: bool) -> None:
        known = [*mirror.kept, *mirror.under_way]
        if not known or not self.may(mirror):
            return
        chunk = known[which % len(known)]
        kept = chunk in mirror.kept[-KEPT:] or chunk in mirror.under_way
        sent = [(token + 1) % V for token in chunk.tokens] if other else chunk.tokens
        if not kept or other:
            with pytest.raises(Refusal) as error:
                self.engine.submit(mirror.id, chunk.index, sent)
            assert error.value.reason is (Reason.OTHER_INPUT if kept else Reason.INDEX_PAST)
            return
        outcomes = self.engine.submit(mirror.id, chunk.index, sent)
        if chunk.outcome or chunk in mirror.under_way:
            self.again.append((chunk.outcome, outcomes))
        else:  # a piece of a prompt, whose answer only the generation was told
            assert len(logits(outcomes)) == len(sent)

    def reset(self, mirror: Mirror, offset: int | None, seed: int | None) -> None:
        """`offset` None: where the last reset was."""
        rows = None if seed is None else initial.random(self.small.spec, seed)
        if not self.may(mirror):
            return
        index = max(0, mirror.admitted + (offset or 0))
        if offset is None and mirror.begun_at is not None:
            index = mirror.begun_at

        def settle(outcome) -> None:
            if index == mirror.begun_at and index < mirror.steps:
                if seed == mirror.begun_with:
                    assert outcome == index  # it is answered again, and forgets nothing
                else:
                    assert outcome.reason is Reason.OTHER_INPUT
            elif mirror.check_place(index, outcome):
                assert outcome == index
                mirror.restart(rows)
                mirror.begun_with = seed

        self._take_in(mirror, settle, self.engine.reset(mirror.id, index, rows))

    def fork(self, mirror: Mirror, count: int, offset: int | None) -> None:
        if not self.may(mirror):
            return
        index = None if offset is None else max(0, mirror.admitted + offset)

        def settle(outcome) -> None:
            if mirror.check_place(index, outcome):
                ids, at = outcome
                assert (len(ids), at) == (count, mirror.steps)
                now_s = self.engine.now_s
                self.live |= {name: mirror.twin(name, now_s) for name in ids}
            elif index in (None, mirror.steps):
                assert outcome.reason is Reason.TOO_MANY_SESSIONS
                assert self.most_live + count > MAX_SESSIONS

        self._take_in(mirror, settle, self.engine.fork(mirror.id, count, index))

    def export(self, mirror: Mirror, offset: int | None) -> None:
        if not self.may(mirror):
            return
        index = None if offset is None else max(0, mirror.admitted + offset)

        def settle(outcome) -> None:
            if not mirror.check_place(index, outcome):
                return
            data, at = outcome
            spec, model = self.small.spec, self.engine.model
            found, carry = blobs.unpack(spec, model.fingerprint, data)
            assert found == at == mirror.steps
            mirror.check_carry(carry)
            self.blobs.append((data, mirror.twin("", 0.0)))

        self._take_in(mirror, settle, self.engine.export(mirror.id, index))

    def restore(self, which: int) -> None:
        data, was = self.blobs[which % len(self.blobs)]
        if self.no_room():
            with pytest.raises(Refusal) as error:
                self.engine.restore(data)
            assert error.value.reason is Reason.TOO_MANY_SESSIONS
            return
        mirror = was.twin(self.engine.restore(data), self.engine.now_s)
        mirror.latest = None
        self.live[mirror.id] = mirror

    def close(self, mirror: Mirror) -> None:
        if not self.may(mirror):
            return
        mirror.closing = True

        def settle(outcome) -> None:
            assert outcome == mirror.steps
            del self.live[mirror.id]
            self.gone[mirror.id] = Reason.SESSION_CLOSED

        self._take_in(mirror, settle, self.engine.close(mirror.id))

    def generate(
        self,
        mirror: Mirror,
        prompt: list[int],
        seed: int | None,
        *,
        max_tokens: int,
        stop_tokens: tuple[int, ...],
        stops_at: int,
        pauses_at: int,
    ) -> None:
        if not self.may(mirror):
            return

        def says(number: int) -> Verdict:
            if number == stops_at:
                return Verdict.STOP
            return Verdict.PAUSE if number == pauses_at else Verdict.GO_ON

        heard, first = Heard(says), prompt[:MAX_CHUNK_STEPS]
        begin = partial(
            *(self.engine.generate, mirror.id, prompt, heard.audience),
            max_tokens=max_tokens,
            stop_tokens=stop_tokens,
            logprobs=True,
            seed=seed or 0,
            temperature=0.0 if seed is None else 1.0,
        )
        wanted = None
        if mirror.acts:
            wanted = Reason.SESSION_BUSY
        elif not prompt and mirror.latest is None:
            wanted = Reason.EMPTY_CHUNK
        elif self.engine.backlog.steps + len(first) > MAX_WAITING_STEPS:
            wanted = Reason.OVERLOADED if prompt else None
        if wanted is not None:
            with pytest.raises(Refusal) as error:
                begin()
            assert error.value.reason is wanted
            assert not heard.ends
            return
        how = (heard, seed is None, max_tokens, stop_tokens, stops_at, POISON, MAX_CHUNK_STEPS)
        talk = Talk(mirror, prompt, *how)
        self.talks[mirror.id] = talk
        talk.generation = begin()

    def leave(self, which: int) -> None:
        talk = list(self.talks.values())[which % len(self.talks)]
        talk.left = True
        assert talk.generation is not None
        talk.generation.leave()

    def resume(self, which: int) -> None:
        talk = list(self.talks.values())[which % len(self.talks)]
        assert talk.generation is not None
        talk.generation.resume()

    def _take_in(self, mirror: Mirror, settle, outcome: list) -> None:
        mirror.acts.append(Act(settle, outcome))
