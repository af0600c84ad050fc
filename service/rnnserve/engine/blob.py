"""A session as bytes: what Export gives and Import takes back.

    magic 8 | format u16 | header size u32 | whole size u64 | header | payload | checksum 16

The header is JSON and describes itself: model, version, fingerprint of the graph, index, and the
tensors in their order. The payload is the carry, tensor by tensor, row-major. All numbers are
little-endian. The checksum is BLAKE2b (RFC 7693) over everything before it: it tells damage, not
forgery, so whatever else is read is checked too. What stands around header and payload stays as it
is in every format, so that an older server can tell a newer blob from a damaged one.

A blob belongs to a graph, not to a name: it is taken by a model of another name or version as long
as the fingerprint is the same, so that sessions survive a model's renaming.
"""

import hashlib
import json
import reprlib
import struct
from dataclasses import dataclass
from itertools import accumulate, pairwise
from math import prod
from typing import Any

from rnnserve.engine import initial
from rnnserve.engine.slots import Rows
from rnnserve.errors import Reason, Refusal
from rnnserve.repository.spec import CarrySpec, ModelSpec, Shape, fits

MAGIC = b"rnncarry"
FORMAT = 1
MAX_HEADER_BYTES = 256 * 1024
MAX_FACT_CHARACTERS = 120
"""What comes from a blob goes into an error's header, so it is cut."""
INDEX_END = 2**63
"""Of what is packed. What is taken back stays far below it, so that it can go on for ever."""
LATEST_INDEX = 2**62

_PREFIX = struct.Struct("<8sHIQ")
_CHECKSUM_BYTES = 16


@dataclass(frozen=True, slots=True)
class _Header:
    fingerprint: str
    index: int
    tensors: list[Any]
    """[name, type, shape] each, as they were found."""


def pack(spec: ModelSpec, fingerprint: str, index: int, carry: Rows) -> bytes:
    """The session that stands at `index` with this carry, each of its entry's shape (no rows).

    `fingerprint` names the graph (SHA-256). Raises ValueError for an index below 0 or from 2**63
    on, and for a carry that is not as the spec says.
    """
    if len(carry) != len(spec.carry) or not all(
        array.dtype == entry.dtype and fits(array.shape, entry.shape)
        for array, entry in zip(carry, spec.carry, strict=True)
    ):
        found = [(array.dtype, array.shape) for array in carry]
        raise ValueError(f"the carry of {spec.name} came as {found}")
    if not 0 <= index < INDEX_END:
        raise ValueError(f"index {index} is none")
    facts = {
        "model": spec.name,
        "version": spec.version,
        "fingerprint": fingerprint,
        "index": index,
        "tensors": [
            _tensor(entry, array.shape) for entry, array in zip(spec.carry, carry, strict=True)
        ],
    }
    header = json.dumps(facts, separators=(",", ":")).encode("ascii")
    if len(header) > MAX_HEADER_BYTES:
        raise ValueError(f"the header of {spec.name} has {len(header)} bytes")
    carry_bytes = sum(array.nbytes for array in carry)
    whole = _PREFIX.size + len(header) + carry_bytes + _CHECKSUM_BYTES
    payload = (array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes() for array in carry)
    body = b"".join((_PREFIX.pack(MAGIC, FORMAT, len(header), whole), header, *payload))
    return body + _checksum(body)


def unpack(spec: ModelSpec, fingerprint: str, blob: bytes) -> tuple[int, Rows]:
    """The index and the carry, each of its entry's shape (no rows), read-only.

    Raises Refusal; the fact `cause` says which way:
    blob_damaged: not_a_blob, truncated, checksum, header, payload;
    blob_foreign, with `found` and `expected`: newer_format, other_graph, other_tensors.
    """
    header_bytes = _open(blob)
    payload_at = _PREFIX.size + header_bytes
    header = _read(blob[_PREFIX.size : payload_at])
    if header.fingerprint != fingerprint:
        raise _foreign("other_graph", "of another graph", header.fingerprint, fingerprint)
    shapes = _shapes(spec, header.tensors)
    sizes = [
        prod(shape) * entry.dtype.itemsize for entry, shape in zip(spec.carry, shapes, strict=True)
    ]
    if len(blob) != payload_at + sum(sizes) + _CHECKSUM_BYTES:
        raise _damaged("payload", "its carry is of another size than its header says")
    edges = accumulate(sizes, initial=payload_at)
    try:
        carry = initial.given(spec, [blob[start:end] for start, end in pairwise(edges)], shapes)
    except Refusal as refusal:
        raise _damaged("payload", refusal.message) from refusal
    return header.index, carry


def _tensor(entry: CarrySpec, shape: Shape) -> list[Any]:
    return [entry.input_name, entry.dtype.newbyteorder("<").str, list(shape)]


def _shapes(spec: ModelSpec, tensors: list[Any]) -> list[Shape]:
    """The shapes that a blob's tensors have. Raises Refusal where they aren't the model's."""
    shapes: list[Shape] = []
    for entry, found in zip(spec.carry, tensors, strict=False):
        match found:
            case [str(), str(), list(dims)] if all(type(d) is int and 0 <= d < 2**40 for d in dims):
                shape = tuple(dims)
                if found == _tensor(entry, shape) and fits(shape, entry.shape):
                    shapes.append(shape)
                    continue
        expected = _tensor(entry, entry.shape)
        raise _foreign("other_tensors", "of other tensors", found, expected)
    if len(tensors) != len(spec.carry):
        counts = f"{len(tensors)} tensors", f"{len(spec.carry)} tensors"
        raise _foreign("other_tensors", "of other tensors", *counts)
    return shapes


def _open(blob: bytes) -> int:
    """Check what is around header and payload; the header's size. Raises Refusal."""
    if len(blob) < _PREFIX.size or not blob.startswith(MAGIC):
        raise _damaged("not_a_blob", "it doesn't begin like an exported session")
    _, number, header_bytes, whole_bytes = _PREFIX.unpack_from(blob)
    if len(blob) < whole_bytes:
        raise _damaged("truncated", f"it has {len(blob)} of {whole_bytes} bytes")
    body = memoryview(blob)[:-_CHECKSUM_BYTES]
    if len(blob) > whole_bytes or _checksum(body) != blob[-_CHECKSUM_BYTES:]:
        raise _damaged("checksum", "its checksum is wrong")
    if number > FORMAT:
        raise _foreign("newer_format", "from a newer server", number, FORMAT)
    room = whole_bytes - _PREFIX.size - _CHECKSUM_BYTES
    if number < 1 or header_bytes > min(room, MAX_HEADER_BYTES):
        raise _damaged("header", "its header is of no possible size or format")
    return int(header_bytes)


def _read(data: bytes) -> _Header:
    """The header. Raises Refusal for whatever is no header, however it was made."""
    try:
        facts = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _damaged("header", "its header can't be read") from error
    match facts:
        case {"fingerprint": str(name), "index": int(index), "tensors": list(tensors)} if (
            not isinstance(index, bool) and 0 <= index <= LATEST_INDEX
        ):
            return _Header(name, index, tensors)
    raise _damaged("header", "its header lacks something or has it wrong")


def _checksum(body: bytes | memoryview) -> bytes:
    return hashlib.blake2b(body, digest_size=_CHECKSUM_BYTES).digest()


def _damaged(cause: str, detail: str) -> Refusal:
    return Refusal(Reason.BLOB_DAMAGED, f"this is no whole exported session: {detail}", cause=cause)


def _foreign(cause: str, detail: str, found: object, expected: object) -> Refusal:
    return Refusal(
        Reason.BLOB_FOREIGN,
        f"the exported session is {detail}",
        cause=cause,
        found=_short(found),
        expected=_short(expected),
    )


def _short(value: object) -> str:
    """ASCII and bounded, whatever a blob said: a lone surrogate would fail protobuf."""
    # A list that json could just about nest is nested too deeply for repr.
    text = value if isinstance(value, str) else reprlib.repr(value)
    return text.encode("ascii", "backslashreplace").decode()[:MAX_FACT_CHARACTERS]
