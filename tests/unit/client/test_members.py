"""Where sessions go, whatever servers come and go: the laws of `Members`."""

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnserve.client.errors import ServerError
from rnnserve.client.members import Members, divided, is_tried_elsewhere, joined

ADDRESSES = st.sets(st.sampled_from(["10.0.0.1", "10.0.0.2", "10.0.0.3", "fd00::1"]), min_size=1)


def opened(members: Members[str], count: int) -> list:
    """Where so many sessions are opened."""
    return [members.choose(0.0) for _ in range(count)]


@given(ADDRESSES, st.integers(0, 40))
def test_sessions_are_spread_evenly(addresses, count):
    members = Members(str)
    members.update(addresses)
    opened(members, count)
    held = [member.sessions for member in members.all()]
    assert sum(held) == count
    assert max(held) - min(held) <= 1


@given(ADDRESSES, ADDRESSES, st.integers(0, 20), st.integers(0, 40))
def test_who_joins_is_filled_first_and_who_leaves_keeps_what_it_has(before, now, first, then):
    members = Members(str)
    members.update(before)
    held = opened(members, first)
    dropped = members.update(now)
    leaving = {member for member in held if member.address not in now}
    kept = {member.address: member.sessions for member in leaving}
    later = opened(members, then)
    assert not leaving & set(later)
    assert {member.address: member.sessions for member in leaving} == kept
    assert set(dropped) == before - now - {member.address for member in leaving}
    new = [member.sessions for member in members.all() if member.address in now - before]
    old = [member.sessions for member in members.all() if member.address in now & before]
    if later and new and old:
        # Nobody got one while a newcomer had fewer.
        assert max(member.sessions for member in later) <= max(*old, min(new) + 1)


@given(ADDRESSES)
def test_a_client_is_given_up_once_when_its_server_is_gone_and_its_last_session_has_ended(
    addresses,
):
    members = Members(str)
    members.update(addresses)
    chosen = opened(members, 2 * len(addresses))
    assert members.update(set()) == []
    given_up = [members.closed(member) for member in chosen]
    assert sorted(filter(None, given_up)) == sorted(addresses)
    assert members.all() == ()


def test_who_rests_is_asked_last_and_first_who_has_rested_longest():
    members = Members(str)
    members.update({"a", "b", "c"})
    a, b, c = sorted(members.all(), key=lambda member: member.address)
    a.rests_until_s, b.rests_until_s, c.sessions = 9.0, 5.0, 100
    for now_s, order in ((1.0, [c, b, a, None]), (6.0, [b, c, a, None])):
        asked = []
        for expected in order:
            assert members.choose(now_s, asked) is expected
            asked.append(expected)


@pytest.mark.parametrize(
    ("reason", "code", "elsewhere"),
    [
        ("draining", grpc.StatusCode.UNAVAILABLE, True),
        ("too_many_sessions", grpc.StatusCode.RESOURCE_EXHAUSTED, True),
        ("transport", grpc.StatusCode.UNAVAILABLE, True),
        ("transport", grpc.StatusCode.CANCELLED, False),
        ("unknown_model", grpc.StatusCode.NOT_FOUND, False),
        ("bad_carry", grpc.StatusCode.INVALID_ARGUMENT, False),
    ],
)
def test_another_server_is_asked_where_it_may_do_better(reason, code, elsewhere):
    assert is_tried_elsewhere(ServerError(reason, "", code=code)) == elsewhere


@pytest.mark.parametrize("target", ["rnnserve", "rnnserve:", ":8001", "rnnserve:http"])
def test_a_target_without_name_or_port_is_told(target):
    with pytest.raises(ValueError, match="NAME:PORT"):
        divided(target)


@pytest.mark.parametrize("target", ["rnnserve:8001", "10.0.0.1:8001", "[fd00::1]:8001"])
def test_a_target_is_its_name_and_its_port(target):
    assert joined(*divided(target)) == target
    assert divided("dns:///" + target) == divided(target)
