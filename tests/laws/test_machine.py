"""Law 7, and all the others at once: whatever happens to sessions in whatever order, the tables are
sound, and every answer is the equations'."""

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from laws.ground import MAX_CHUNK_STEPS, POISON
from laws.world import World
from rnnserve.errors import Reason
from small_models import SmallModel

lives = settings(
    max_examples=150,
    stateful_step_count=40,
    deadline=None,
    report_multiple_bugs=False,
    phases=(Phase.reuse, Phase.generate, Phase.shrink),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
who = st.integers(0, 7)
tokens = st.lists(st.integers(0, POISON - 1), min_size=1, max_size=MAX_CHUNK_STEPS)
prompts = st.lists(st.integers(0, POISON - 1), max_size=2 * MAX_CHUNK_STEPS)
offsets = st.sampled_from([None, 0, 0, -1, 1])
seeds = st.none() | st.integers(0, 9)


def poisoned(sent: list[int], at: int | None) -> list[int]:
    return sent if at is None else [*sent[:at], POISON, *sent[at + 1 :]]


class Lives(RuleBasedStateMachine):
    """Sessions are opened, moved, copied, cut and ended; the world checks all of it."""

    def __init__(self, model: SmallModel, log: pytest.LogCaptureFixture) -> None:
        super().__init__()
        log.clear()
        self.log = log
        self.world = World(model)

    @rule(seed=seeds)
    def open(self, seed):
        self.world.open(seed)

    @precondition(lambda self: self.world.live)
    @rule(who=who, sent=tokens, timeout=st.sampled_from([None, None, None, 0, 5]))
    def step(self, who, sent, timeout):
        self.world.step(self.world.pick(who), sent, timeout)

    @precondition(lambda self: self.world.live)
    @rule(who=who, sent=tokens, at=st.integers(0, MAX_CHUNK_STEPS - 1))
    def step_with_poison(self, who, sent, at):
        self.world.step(self.world.pick(who), poisoned(sent, at), None)

    @precondition(lambda self: self.world.live)
    @rule(who=who, sent=tokens, beyond=st.integers(1, 3))
    def step_beyond(self, who, sent, beyond):
        self.world.step_beyond(self.world.pick(who), sent, beyond)

    @precondition(lambda self: self.world.live)
    @rule(who=who, which=st.integers(0, 9), other=st.booleans())
    def send_again(self, who, which, other):
        self.world.send_again(self.world.pick(who), which, other)

    @precondition(lambda self: self.world.live)
    @rule(who=who, offset=offsets, seed=seeds)
    def reset(self, who, offset, seed):
        self.world.reset(self.world.pick(who), offset, seed)

    @precondition(lambda self: self.world.live)
    @rule(who=who, count=st.integers(1, 3), offset=offsets)
    def fork(self, who, count, offset):
        self.world.fork(self.world.pick(who), count, offset)

    @precondition(lambda self: self.world.live)
    @rule(who=who, offset=offsets)
    def export(self, who, offset):
        self.world.export(self.world.pick(who), offset)

    @precondition(lambda self: self.world.blobs)
    @rule(which=who)
    def restore(self, which):
        self.world.restore(which)

    @precondition(lambda self: self.world.live)
    @rule(who=who)
    def close(self, who):
        self.world.close(self.world.pick(who))

    @precondition(lambda self: self.world.live)
    @rule(
        who=who,
        prompt=prompts,
        poison_at=st.sampled_from([None, None, None, 0, 3]),
        seed=seeds,
        max_tokens=st.integers(1, 6),
        stop_tokens=st.lists(st.integers(0, POISON), max_size=2).map(tuple),
        stops_at=st.integers(0, 4),
        pauses_at=st.integers(0, 4),
    )
    def generate(self, who, prompt, poison_at, **how):
        prompt = poisoned(prompt, poison_at) if prompt else prompt
        self.world.generate(self.world.pick(who), prompt, **how)

    @precondition(lambda self: self.world.talks)
    @rule(which=who)
    def leave(self, which):
        self.world.leave(which)

    @precondition(lambda self: self.world.talks)
    @rule(which=who)
    def resume(self, which):
        self.world.resume(which)

    @precondition(lambda self: self.world.held is None)
    @rule(count=st.integers(1, 4))
    def tick(self, count):
        for _ in range(count):
            self.world.engine.tick()

    @precondition(lambda self: self.world.held is None)
    @rule()
    def begin_a_run(self):
        self.world.held = self.world.engine.begin()

    @precondition(lambda self: self.world.held is not None)
    @rule()
    def finish_the_run(self):
        self.world.finish_run()

    @rule(seconds=st.sampled_from([1, 6, 29, 30, 31]))
    def let_time_pass(self, seconds):
        self.world.engine.now_s += seconds

    @rule()
    def expire(self):
        self.world.expire()

    @precondition(lambda self: self.world.gone)
    @rule(which=who)
    def touch_what_is_gone(self, which):
        session_id, reason = list(self.world.gone.items())[which % len(self.world.gone)]
        assert self.world.refused(session_id) is reason

    @rule()
    def touch_what_never_was(self):
        assert self.world.refused("nobody") is Reason.UNKNOWN_SESSION

    @invariant()
    def everything_is_sound_and_as_the_equations_say(self):
        self.world.check()
        assert self.log.records == [], "somebody's trouble was swallowed"

    def teardown(self):
        self.world.end()


def test_whatever_happens_the_tables_are_sound_and_the_answers_right(model, caplog):
    run_state_machine_as_test(lambda: Lives(model, caplog), settings=lives)


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_left_when_all_have_gone(model, seed):
    world = World(model)
    for number in range(6):
        world.open(seed)
        world.step(world.pick(number), [number + 1] * 7, None)
        world.engine.tick()
        world.check()
        world.generate(
            world.pick(number), [1, 2], seed, max_tokens=3, stop_tokens=(), stops_at=0, pauses_at=1
        )
        world.check()
    world.end()
    for mirror in list(world.live.values()):
        world.close(mirror)
        world.check()
    assert world.engine.model.slots.free_count == world.engine.model.slots.capacity
    assert world.engine.engine.table.carry_bytes == 0
