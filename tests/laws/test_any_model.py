"""The laws hold whatever the model: of any state, any controls and any layout, in sessions and in
sequences, alone and in company."""

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import tiny_models as tiny
from laws.any_world import AnyWorld
from laws.known import POISON, Known, all_known
from rnnserve.engine.batcher import BatchLimits
from rnnserve.engine.chunk import Chunk
from synchronous_engine import SynchronousEngine

KNOWN = all_known()
lives = settings(
    max_examples=40,
    stateful_step_count=30,
    deadline=None,
    phases=(Phase.reuse, Phase.generate, Phase.shrink),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
numbers = st.integers(0, 3)
which = st.integers(0, 7)
factors = st.sampled_from([1, 3])
value = st.sampled_from([0, 1, 2, 7, POISON])
values = st.lists(value, max_size=3)
chunks = st.lists(st.lists(st.integers(0, 9), max_size=3), min_size=1, max_size=7)


class Lives(RuleBasedStateMachine):
    """The world checks all of it."""

    def __init__(self, known: Known) -> None:
        super().__init__()
        self.world = AnyWorld(known)

    @rule(number=numbers, sent=values, end=st.booleans(), factor=factors)
    def start(self, number, sent, end, factor):
        self.world.start(self.world.number(number), sent, end, factor)

    @rule(number=numbers, sent=values, end=st.sampled_from([False, False, True]))
    def go_on(self, number, sent, end):
        self.world.go_on(self.world.number(number), sent, end)

    @rule(number=numbers, sent=st.lists(values, min_size=2, max_size=5))
    def go_on_without_waiting(self, number, sent):
        for one in sent:
            self.world.go_on(self.world.number(number), one, end=False)

    @rule(factor=factors)
    def open(self, factor):
        self.world.open(factor)

    @precondition(lambda self: self.world.sessions)
    @rule(which=which, chunk=chunks)
    def step(self, which, chunk):
        self.world.step(which, chunk)

    @precondition(lambda self: self.world.sessions)
    @rule(which=which, chunk=chunks)
    def step_with_poison(self, which, chunk):
        self.world.step(which, [*chunk[:-1], [POISON]])

    @precondition(lambda self: self.world.sessions)
    @rule(which=which, factor=factors)
    def reset(self, which, factor):
        self.world.reset(which, factor)

    @precondition(lambda self: self.world.sessions)
    @rule(which=which)
    def fork(self, which):
        self.world.fork(which)

    @precondition(lambda self: self.world.sessions)
    @rule(which=which)
    def export(self, which):
        self.world.export(which)

    @precondition(lambda self: self.world.blobs)
    @rule(which=which)
    def restore(self, which):
        self.world.restore(which)

    @precondition(lambda self: self.world.sessions)
    @rule(which=which)
    def close(self, which):
        self.world.close(which)

    @precondition(lambda self: self.world.held is None)
    @rule(count=st.integers(1, 4))
    def tick(self, count):
        for _ in range(count):
            self.world.engine.tick()

    @precondition(lambda self: self.world.held is None)
    @rule()
    def begin_a_run(self):
        self.world.begin_run()

    @precondition(lambda self: self.world.held is not None)
    @rule()
    def finish_the_run(self):
        self.world.finish_run()

    @rule()
    def all_idle(self):
        self.world.all_idle()

    @invariant()
    def whatever_was_answered_is_what_numpy_says(self):
        self.world.check()

    def teardown(self):
        self.world.end()


@pytest.mark.parametrize("known", KNOWN, ids=[known.model.name for known in KNOWN])
def test_in_any_company_and_order_the_answers_are_those_of_numpy(known):
    run_state_machine_as_test(lambda: Lives(known), settings=lives)


ALONE = {
    "table": (tiny.table(), lambda free: (free, 2), lambda x: (x,)),
    "adder": (tiny.adder(), lambda free: (4,), lambda a, b: (a + b, a - b)),
}
"""Models, the shape of a row, and the answer."""
requests = st.lists(
    st.tuples(st.sampled_from([*ALONE]), st.integers(1, 4), st.integers(0, 3), st.booleans()),
    max_size=12,
)


@given(requests)
def test_requests_that_stand_alone_are_answered_row_by_row_in_any_company(asked):
    """Of any shapes and as many rows as fit, whatever else waits."""
    limits = BatchLimits(max_rows=5)
    engines = {n: SynchronousEngine(model, batches=limits) for n, (model, *_) in ALONE.items()}
    wanted = []
    for number, (name, rows, free, ticks) in enumerate(asked):
        (model, shape_of, answer), engine = ALONE[name], engines[name]
        shape, told = shape_of(free), []
        first = np.arange(rows * np.prod(shape), dtype=np.float32).reshape(rows, *shape) + number
        inputs = [first * place for place in range(1, len(model.spec.inputs) + 1)]
        memory = tuple(array.tobytes() for array in inputs)
        engine.model.visit(memory, (shape,) * len(inputs), rows, told.append, 0)
        wanted.append((told, answer(*inputs), shape))
        if ticks:
            engine.tick()
    for engine in engines.values():
        engine.run_all()
        assert engine.audit() == []
    for (chunk,), outputs, shape in wanted:
        assert isinstance(chunk, Chunk)
        assert chunk.answer == tuple(array.tobytes() for array in outputs)
        assert chunk.answer_shapes == (shape,) * len(outputs)
