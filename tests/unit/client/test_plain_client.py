"""What only the plain client has: threads."""

from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from rnnserve.client import Client, ServerError
from rnnserve.client.channel import CLOSE_TIMEOUT_S


def test_threads_share_a_client_each_with_a_session_of_its_own(running):
    with Client(running.target) as client:

        def one(number: int) -> list[int]:
            with client.open("count") as session:
                return [int(session.step([number])[0, 1]) for _ in range(20)]

        with ThreadPoolExecutor(4) as threads:
            found = list(threads.map(one, range(4)))
    assert found == [[number * step for step in range(1, 21)] for number in range(4)]


def test_a_step_that_takes_too_long_fails_and_may_be_sent_again(running, fake):
    with Client(running.target, timeout_s=0.2) as client, client.open("count") as session:
        fake.go_on.clear()
        with pytest.raises(ServerError) as caught:
            session.step([1])
        assert caught.value.code is grpc.StatusCode.DEADLINE_EXCEEDED
        fake.go_on.set()
        assert session.step([1]).tolist() == [[1, 1]]


def test_the_call_is_bounded_by_the_client_and_not_by_the_steps_own_timeout(running, fake):
    with Client(running.target, timeout_s=1000) as client, client.open("count") as session:
        session.step([1], timeout_s=0.5)
        assert fake.calls_left_s[-1] > 500
        assert fake.frames[-1].operations[0].step.timeout_us == 500_000


def test_leaving_after_a_generation_was_left_asks_no_longer_than_closing_may_take(running, fake):
    with Client(running.target, timeout_s=1000) as client, client.open("count") as session:
        for _ in session.generate([1]):
            break
        fake.calls_left_s.clear()
    assert len(fake.calls_left_s) >= 2
    # gRPC rounds a deadline up.
    assert max(fake.calls_left_s) < CLOSE_TIMEOUT_S + 1


def test_a_generation_from_a_fork_may_be_left_when_its_client_is_closed_already(running, fake):
    with Client(running.target) as client, client.open("count") as session:
        pieces = iter(session.generate([1], fork=True, max_tokens=3))
        next(pieces)
    pieces.close()
    assert fake.closed == [session.id]
