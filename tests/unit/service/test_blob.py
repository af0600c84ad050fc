"""An exported session comes back to the bit, or is refused with the reason."""

import hashlib
import json
import struct
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnserve.engine import initial
from rnnserve.engine.blob import MAGIC, MAX_FACT_CHARACTERS, MAX_HEADER_BYTES, pack, unpack
from rnnserve.errors import Reason, Refusal
from rnnserve.repository.spec import CarrySpec, ModelSpec

GRAPH = hashlib.sha256(b"a graph").hexdigest()
CARRY = (
    CarrySpec("h0", "h0_next", np.dtype("<f4"), (2, 3)),
    CarrySpec("seen", "seen_next", np.dtype(np.bool_), (5,)),
    CarrySpec("count", "count_next", np.dtype("<i8"), ()),
)
SPEC = ModelSpec("demo", 3, 64, (), (), CARRY)
BLOB = pack(SPEC, GRAPH, 41, initial.random(SPEC, 7))


def refusal(blob: bytes, spec: ModelSpec = SPEC, graph: str = GRAPH) -> Refusal:
    with pytest.raises(Refusal) as error:
        unpack(spec, graph, blob)
    assert all(
        value.isascii() and len(value) <= MAX_FACT_CHARACTERS
        for value in error.value.facts.values()
    )
    error.value.message.encode()
    return error.value


def outcome(blob: bytes) -> tuple[Reason, str]:
    refused = refusal(blob)
    return refused.reason, refused.facts["cause"]


def sealed(
    header: bytes, payload: bytes, number: int = 1, header_bytes: int | None = None
) -> bytes:
    """A blob with a right checksum, whatever is in it."""
    header_bytes = len(header) if header_bytes is None else header_bytes
    whole = 22 + len(header) + len(payload) + 16
    body = struct.pack("<8sHIQ", MAGIC, number, header_bytes, whole) + header + payload
    return body + hashlib.blake2b(body, digest_size=16).digest()


def header_of(blob: bytes) -> dict:
    size = struct.unpack_from("<I", blob, 10)[0]
    return json.loads(blob[22 : 22 + size])


PAYLOAD = BLOB[-16 - SPEC.carry_bytes : -16]


@given(index=st.integers(0, 2**62), data=st.binary(min_size=32, max_size=32))
def test_a_session_comes_back_to_the_bit(index, data):
    carry = initial.given(SPEC, [data[:24], b"\x01\x00\x01\x01\x00", data[24:]])
    again_index, again = unpack(SPEC, GRAPH, pack(SPEC, GRAPH, index, carry))
    assert again_index == index
    assert [(a.dtype, a.shape) for a in again] == [(c.dtype, c.shape) for c in CARRY]
    assert [a.tobytes() for a in again] == [c.tobytes() for c in carry]


def test_a_carry_that_is_a_view_is_packed_like_any_other():
    h0, seen, count = initial.random(SPEC, 7)
    views = (np.asfortranarray(h0), np.repeat(seen, 2)[::2], count)
    assert pack(SPEC, GRAPH, 41, views) == BLOB


def test_a_blob_says_what_it_is():
    assert header_of(BLOB) == {
        "model": "demo",
        "version": 3,
        "fingerprint": GRAPH,
        "index": 41,
        "tensors": [["h0", "<f4", [2, 3]], ["seen", "|b1", [5]], ["count", "<i8", []]],
    }


def test_a_model_renamed_keeps_its_sessions():
    index, _ = unpack(replace(SPEC, name="renamed", version=4), GRAPH, BLOB)
    assert index == 41


def test_a_session_of_another_graph_is_refused_and_both_graphs_are_named():
    refused = refusal(BLOB, graph="f" * 64)
    assert refused.reason is Reason.BLOB_FOREIGN
    assert refused.facts == {"cause": "other_graph", "found": GRAPH, "expected": "f" * 64}


@pytest.mark.parametrize(
    ("carry", "found", "expected"),
    [
        (CARRY[:2], "3 tensors", "2 tensors"),
        ((*CARRY, CARRY[2]), "3 tensors", "4 tensors"),
        ((CARRY[1], CARRY[0], CARRY[2]), "['h0', '<f4', [2, 3]]", "['seen', '|b1', [5]]"),
        ((replace(CARRY[0], shape=(3, 2)), *CARRY[1:]), "['h0', '<f4', [2, 3]]", "[3, 2]"),
        ((replace(CARRY[0], dtype=np.dtype("<i4")), *CARRY[1:]), "'<f4'", "'<i4'"),
    ],
)
def test_a_session_with_other_tensors_is_refused_and_the_first_is_named(carry, found, expected):
    refused = refusal(BLOB, replace(SPEC, carry=carry))
    assert (refused.reason, refused.facts["cause"]) == (Reason.BLOB_FOREIGN, "other_tensors")
    assert found in refused.facts["found"]
    assert expected in refused.facts["expected"]


@given(bit=st.integers(0, 8 * len(BLOB) - 1))
def test_one_bit_turned_anywhere_is_damage(bit):
    turned = bytearray(BLOB)
    turned[bit // 8] ^= 1 << (bit % 8)
    assert refusal(bytes(turned)).reason is Reason.BLOB_DAMAGED


@given(size=st.integers(0, len(BLOB) - 1))
def test_a_blob_cut_anywhere_is_damage(size):
    cause = "not_a_blob" if size < 22 else "truncated"
    assert outcome(BLOB[:size]) == (Reason.BLOB_DAMAGED, cause)


@given(
    garbage=st.one_of(
        st.binary(max_size=200),
        st.binary(max_size=200).map(lambda tail: BLOB[:22] + tail),
        st.tuples(st.integers(0, len(BLOB)), st.integers(0, len(BLOB))).map(
            lambda cut: BLOB[: cut[0]] + BLOB[cut[1] :]
        ),
        st.binary(min_size=1, max_size=50).map(lambda tail: BLOB + tail),
    )
)
def test_garbage_and_spliced_blobs_are_damage(garbage):
    if garbage != BLOB:
        assert refusal(garbage).reason is Reason.BLOB_DAMAGED


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_subnormal=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(
    field=st.sampled_from(["fingerprint", "index", "tensors"]),
    value=json_values | st.just("\ud800"),
    payload=st.binary(max_size=60) | st.just(PAYLOAD),
)
def test_a_forged_header_is_refused_or_says_what_the_real_one_says(field, value, payload):
    facts = header_of(BLOB)
    real = facts[field] == value or (field == "index" and type(value) is int and value >= 0)
    forged = sealed(json.dumps(facts | {field: value}).encode(), payload)
    if not real:
        assert refusal(forged).facts["cause"] in {"header", "other_graph", "other_tensors"}
    elif payload != PAYLOAD:
        assert outcome(forged) == (Reason.BLOB_DAMAGED, "payload")


@given(header=st.binary(max_size=100), header_bytes=st.none() | st.integers(0, 2**32 - 1))
def test_a_header_that_is_none_is_damage(header, header_bytes):
    assert outcome(sealed(header, PAYLOAD, header_bytes=header_bytes)) == (
        Reason.BLOB_DAMAGED,
        "header",
    )


@pytest.mark.parametrize(
    "header",
    [
        b"[" * 100_000,
        b'{"a":' * 40_000,
        b"9" * 10_000,
        b" " * (MAX_HEADER_BYTES + 1),
        b"null",
        b"\xff\xfe[]",
    ],
)
def test_a_header_made_to_hurt_is_damage(header):
    assert outcome(sealed(header, PAYLOAD)) == (Reason.BLOB_DAMAGED, "header")


@pytest.mark.parametrize("extra", [None, [], {}, "h0"])
def test_tensors_of_no_kind_are_foreign(extra):
    facts = header_of(BLOB)
    facts["tensors"].append(extra)
    refused = refusal(sealed(json.dumps(facts).encode(), PAYLOAD))
    assert refused.facts == {
        "cause": "other_tensors",
        "found": "4 tensors",
        "expected": "3 tensors",
    }


def test_a_header_nested_however_deeply_is_refused():
    real = json.dumps(header_of(BLOB) | {"tensors": []})
    for depth in (*range(700, 1100), 3_000, 10_000, 30_000):
        nested = real.replace("[]", "[" * depth + "]" * depth)
        assert refusal(sealed(nested.encode(), PAYLOAD)).facts["cause"] in {
            "header",
            "other_tensors",
        }


def test_a_bool_that_is_neither_0_nor_1_is_damage():
    payload = PAYLOAD[:24] + b"\x02" + PAYLOAD[25:]
    blob = sealed(json.dumps(header_of(BLOB)).encode(), payload)
    assert outcome(blob) == (Reason.BLOB_DAMAGED, "payload")


@pytest.mark.parametrize("header", [b"", b"what nobody has thought of yet"])
def test_a_blob_of_a_newer_format_is_foreign_and_not_damaged(header):
    refused = refusal(sealed(header, b"", number=2))
    assert refused.reason is Reason.BLOB_FOREIGN
    assert refused.facts == {"cause": "newer_format", "found": "2", "expected": "1"}


@given(tensor=st.text(max_size=3000))
def test_facts_stay_short_however_long_the_names_in_a_blob(tensor):
    facts = header_of(BLOB) | {"tensors": [[tensor, "<f4", [2, 3]]]}
    assert refusal(sealed(json.dumps(facts).encode(), PAYLOAD)).reason is Reason.BLOB_FOREIGN
    facts = header_of(BLOB) | {"fingerprint": tensor}
    assert refusal(sealed(json.dumps(facts).encode(), PAYLOAD)).reason is Reason.BLOB_FOREIGN


@pytest.mark.parametrize("index", [-1, 2**63])
def test_an_index_that_is_none_is_never_packed(index):
    with pytest.raises(ValueError, match="index"):
        pack(SPEC, GRAPH, index, initial.beginning(SPEC))


def test_a_carry_with_rows_is_never_packed():
    with pytest.raises(ValueError, match="carry"):
        pack(SPEC, GRAPH, 0, tuple(array[np.newaxis] for array in initial.beginning(SPEC)))
