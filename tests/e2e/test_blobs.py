"""Whatever is imported, it is a session that was exported, or it is refused as what it is."""

import hashlib
import json
import struct

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raw_session import close, exchange, export, open_session, refusal, restore, step

BEFORE = [1, 2, 3]
thrown = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def blob(stub) -> bytes:
    """A session after three steps."""
    session = open_session(stub, "gru1")
    _, event, _ = exchange(stub, step(session, 0, BEFORE), export(session), close(session))
    return event.exported.blob


def forged(blob: bytes, **facts) -> bytes:
    """The blob with other facts in its header, and everything around it made to fit."""
    magic, number, header_bytes, _ = struct.unpack_from("<8sHIQ", blob)
    header = json.loads(blob[22 : 22 + header_bytes]) | facts
    data, payload = json.dumps(header).encode(), blob[22 + header_bytes : -16]
    whole = 22 + len(data) + len(payload) + 16
    body = struct.pack("<8sHIQ", magic, number, len(data), whole) + data + payload
    return body + hashlib.blake2b(body, digest_size=16).digest()


@thrown
@given(garbage=st.binary(max_size=300), begins=st.booleans())
def test_garbage_is_damaged(stub, garbage, begins):
    (event,) = exchange(stub, restore("gru1", b"rnncarry" * begins + garbage))
    assert refusal(event)[:2] == ("INVALID_ARGUMENT", "blob_damaged")


@thrown
@given(at=st.integers(0, 9999), bit=st.integers(0, 7), cut=st.booleans())
def test_a_blob_that_lost_a_bit_or_its_end_is_damaged(stub, blob, at, bit, cut):
    place = at * len(blob) // 10_000
    broken = bytearray(blob[:place] if cut else blob)
    if not cut:
        broken[place] ^= 1 << bit
    (event,) = exchange(stub, restore("gru1", bytes(broken)))
    assert refusal(event)[:2] == ("INVALID_ARGUMENT", "blob_damaged")


def test_a_blob_with_something_behind_it_is_damaged(stub, blob):
    (event,) = exchange(stub, restore("gru1", blob + b"\0"))
    assert refusal(event)[:2] == ("INVALID_ARGUMENT", "blob_damaged")


@pytest.mark.parametrize("other", ["gru2", "lstm1", "rnn1"])
def test_a_blob_of_another_model_is_foreign(stub, blob, other):
    (event,) = exchange(stub, restore(other, blob))
    code, reason, facts = refusal(event)
    assert (code, reason) == ("FAILED_PRECONDITION", "blob_foreign")
    assert facts["cause"] == "other_graph"


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@thrown
@given(field=st.sampled_from(["fingerprint", "index", "tensors", "model", "x"]), value=values)
def test_a_forged_header_never_looks_like_our_fault(stub, blob, field, value):
    (event,) = exchange(stub, restore("gru1", forged(blob, **{field: value})))
    if event.HasField("opened"):
        session, index = event.opened.session_id, event.opened.index
        stepped, exported, _ = exchange(
            stub, step(session, index, [1]), export(session), close(session)
        )
        events = [stepped, exported]
    else:
        events = [event]
    for event in events:
        assert not event.HasField("error") or refusal(event)[0] != "INTERNAL"


@pytest.mark.parametrize("index", [2**63 - 2, 2**63 - 1])
def test_a_session_at_the_end_of_time_is_no_fault_of_ours(server, stub, blob, index):
    lines = len(server.log)
    (event,) = exchange(stub, restore("gru1", forged(blob, index=index)))
    if event.HasField("error"):
        assert refusal(event)[1] in ("blob_damaged", "blob_foreign")
        return
    session = event.opened.session_id
    found = exchange(
        stub,
        step(session, index, [1]),
        export(session),
        step(session, index + 1, [1]),
        export(session),
        close(session),
    )
    for event in found:
        assert not event.HasField("error") or refusal(event)[0] != "INTERNAL"
    assert not any("Traceback" in line for line in server.log[lines:])
