"""What only the plain client has: threads."""

from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from rnnserve.client import Client, ServerError


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
