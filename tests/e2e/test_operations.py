"""Reset, fork, export, import and given carries over the wire, by the stream and by its twin."""

import numpy as np
import pytest

from raw_session import (
    close,
    exchange,
    export,
    fork,
    logits,
    open_session,
    refusal,
    reset,
    restore,
    retry_ms,
    step,
    streamed,
)
from rnnserve.v1 import rnnserve_pb2 as v1
from small_models import V, small_model

MODEL = small_model("lstm", 2)
BEFORE, AFTER = [1, 2, 3], [4, 5]


@pytest.fixture(params=[exchange, streamed], ids=["Exchange", "Stream"])
def ask(request, stub):
    """Send operations in one frame; their events, in the operations' order."""
    return lambda *operations: request.param(stub, *operations)


@pytest.fixture
def session(stub):
    session_id = open_session(stub)
    exchange(stub, step(session_id, 0, BEFORE))
    yield session_id
    exchange(stub, close(session_id))


def wanted(tokens, carry=None) -> np.ndarray:
    """The logits (T, V) by the equations."""
    carry = carry or MODEL.reference.initial_carry(1)
    return MODEL.reference(carry, np.array([tokens]))[1][0]


def agree(event: v1.Event, expected: np.ndarray) -> None:
    np.testing.assert_allclose(logits(event, V), expected, atol=1e-5)


def tensors(carry: dict[str, np.ndarray]) -> list[bytes]:
    return [carry[entry.input_name].astype("<f4").tobytes() for entry in MODEL.spec.carry]


def test_a_frame_of_every_operation_is_answered_in_order(stub, ask, session):
    first, second, forked, third, exported, was_reset, fourth = ask(
        step(session, 3, [4]),
        step(session, 4, [5]),
        fork(session, 2, index=5),
        step(session, 5, [6]),
        export(session, index=6),
        reset(session, 6),
        step(session, 6, [7]),
    )
    whole = wanted([*BEFORE, 4, 5, 6])
    for event, row in ((first, 3), (second, 4), (third, 5)):
        assert event.stepped.index == row
        agree(event, whole[row : row + 1])
    assert (forked.forked.index, exported.exported.index, was_reset.was_reset.index) == (5, 6, 6)
    assert fourth.stepped.index == 6
    agree(fourth, wanted([7]))
    (imported,) = ask(restore("lstm2", exported.exported.blob))
    assert imported.opened.index == 6
    assert [tensor.name for tensor in imported.opened.carry] == ["h0", "c0", "h1", "c1"]
    (onward,) = ask(step(imported.opened.session_id, 6, AFTER))
    agree(onward, wanted([*BEFORE, 4, 5, 6, *AFTER])[6:])
    for child in forked.forked.session_ids:
        onward, closed = ask(step(child, 5, AFTER), close(child))
        agree(onward, wanted([*BEFORE, 4, 5, *AFTER])[5:])
        assert closed.closed.steps == 7
    ask(close(imported.opened.session_id))


@pytest.mark.parametrize("count", [0, 1, 256])
def test_a_fork_makes_as_many_as_asked_and_one_when_nothing_is_said(ask, session, count):
    (event,) = ask(fork(session, count))
    forks = event.forked.session_ids
    assert len(set(forks)) == max(1, count)
    events = ask(*(step(child, 3, [n % V]) for n, child in enumerate(forks)))
    for n, event in enumerate(events):
        agree(event, wanted([*BEFORE, n % V])[3:])
    assert all(event.closed.steps == 4 for event in ask(*map(close, forks)))


def test_a_session_begins_and_begins_anew_with_the_carry_it_is_given(ask, stub, session):
    random = np.random.default_rng(3)
    carry = {
        entry.input_name: random.uniform(-1, 1, (1, *entry.shape)).astype(np.float32)
        for entry in MODEL.spec.carry
    }
    given = v1.InitialCarry(given=v1.GivenCarry(tensors=tensors(carry)))
    opened, was_reset = ask(
        v1.Operation(open=v1.Open(model="lstm2", carry=given)), reset(session, 3, carry=given)
    )
    assert was_reset.was_reset.index == 3
    mine = opened.opened.session_id
    for event in ask(step(mine, 0, AFTER), step(session, 3, AFTER)):
        agree(event, wanted(AFTER, carry))
    ask(close(mine))


def test_a_random_carry_is_the_same_for_the_same_seed(ask):
    seeds = [v1.RandomCarry(seed=5), v1.RandomCarry(seed=5, scale=1.0), v1.RandomCarry(seed=6)]
    seeds.append(v1.RandomCarry(seed=5, scale=0.0))
    carries = [v1.InitialCarry(random=random) for random in seeds]
    opened = ask(*(v1.Operation(open=v1.Open(model="lstm2", carry=carry)) for carry in carries))
    sessions = [event.opened.session_id for event in opened]
    same, named, other, still = (
        logits(event, V) for event in ask(*(step(session, 0, AFTER) for session in sessions))
    )
    np.testing.assert_array_equal(same, named)
    assert not np.allclose(same, other)
    np.testing.assert_allclose(still, wanted(AFTER), atol=1e-5)
    ask(*map(close, sessions))


ZEROS = [b"\0" * entry.row_bytes for entry in MODEL.spec.carry]
BAD_CARRIES = {
    "too few tensors": v1.InitialCarry(given=v1.GivenCarry(tensors=ZEROS[:-1])),
    "too many tensors": v1.InitialCarry(given=v1.GivenCarry(tensors=[*ZEROS, b""])),
    "none": v1.InitialCarry(given=v1.GivenCarry()),
    "a tensor too short": v1.InitialCarry(given=v1.GivenCarry(tensors=[*ZEROS[:-1], b"\0"])),
    "a tensor too long": v1.InitialCarry(
        given=v1.GivenCarry(tensors=[ZEROS[0] + b"\0" * 4, *ZEROS[1:]])
    ),
    "a negative scale": v1.InitialCarry(random=v1.RandomCarry(scale=-1)),
    "no scale at all": v1.InitialCarry(random=v1.RandomCarry(scale=float("nan"))),
    "a scale beyond floats": v1.InitialCarry(random=v1.RandomCarry(scale=1e300)),
}


@pytest.mark.parametrize("case", BAD_CARRIES)
def test_a_bad_carry_is_refused_and_the_session_keeps_its_own(ask, session, case):
    carry = BAD_CARRIES[case]
    opened, was_reset, onward = ask(
        v1.Operation(open=v1.Open(model="lstm2", carry=carry)),
        reset(session, 3, carry=carry),
        step(session, 3, AFTER),
    )
    for event in (opened, was_reset):
        assert refusal(event)[:2] == ("INVALID_ARGUMENT", "bad_carry")
    agree(onward, wanted([*BEFORE, *AFTER])[3:])


def refused_cases(session: str) -> dict[str, tuple[v1.Operation, str, str, dict[str, str]]]:
    past, gap = ("ALREADY_EXISTS", "index_past"), ("OUT_OF_RANGE", "index_gap")
    three = {"expected": "3"}
    return {
        "a reset at an earlier index": (reset(session, 2), *past, three),
        "a reset at a later index": (reset(session, 4), *gap, three),
        "a reset far away": (reset(session, 2**64 - 1), *gap, three),
        "a fork at an earlier index": (fork(session, index=0), *past, three),
        "a fork at a later index": (fork(session, index=9), *gap, three),
        "an export at an earlier index": (export(session, index=2), *past, three),
        "an export at a later index": (export(session, index=4), *gap, three),
        "too many forks": (
            *(fork(session, 257), "INVALID_ARGUMENT", "too_many_forks"),
            {"limit": "256"},
        ),
        "far too many forks": (
            *(fork(session, 2**32 - 1), "INVALID_ARGUMENT", "too_many_forks"),
            {"limit": "256"},
        ),
        "an import into no model": (
            *(restore("", b""), "INVALID_ARGUMENT", "missing_field"),
            {"field": "model"},
        ),
        "an import into another model": (restore("nobody", b""), "NOT_FOUND", "unknown_model", {}),
        "an import into another version": (
            *(restore("lstm2", b"", version=7), "NOT_FOUND", "unknown_model"),
            {},
        ),
    }


@pytest.mark.parametrize("case", refused_cases(""))
def test_what_is_wrong_with_an_operation_is_said_and_nothing_happens(ask, stub, session, case):
    operation, *expected = refused_cases(session)[case]
    before = stub.Audit(v1.AuditRequest()).sessions
    bad, onward = ask(operation, step(session, 3, AFTER))
    assert list(refusal(bad)) == expected
    agree(onward, wanted([*BEFORE, *AFTER])[3:])
    assert stub.Audit(v1.AuditRequest()).sessions == before


@pytest.mark.parametrize(
    "make", [lambda s: reset(s, 0), fork, export], ids=["reset", "fork", "export"]
)
def test_operations_on_sessions_that_are_not_there_are_told_apart(ask, stub, make):
    closed = open_session(stub)
    exchange(stub, close(closed))
    found = [refusal(event)[:2] for event in ask(make(""), make("nobody"), make(closed))]
    assert found == [
        ("FAILED_PRECONDITION", "not_open"),
        ("NOT_FOUND", "unknown_session"),
        ("FAILED_PRECONDITION", "session_closed"),
    ]


def test_a_step_that_comes_too_late_says_so_and_the_session_goes_on(ask, stub, session):
    neighbours = [open_session(stub) for _ in range(8)]
    *_, late, behind = ask(
        *(step(neighbour, 0, [1] * 512) for neighbour in neighbours),
        step(session, 3, [4], timeout_us=1),
        step(session, 4, [5]),
    )
    assert refusal(late)[:2] == ("RESOURCE_EXHAUSTED", "too_late")
    assert retry_ms(late) > 0
    assert refusal(behind) == ("OUT_OF_RANGE", "index_gap", {"expected": "3"})
    in_time, *_ = ask(step(session, 3, AFTER, timeout_us=60_000_000), *map(close, neighbours))
    agree(in_time, wanted([*BEFORE, *AFTER])[3:])
