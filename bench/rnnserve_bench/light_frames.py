"""As much of HTTP/2 as it takes to speak gRPC with a server that is trusted: the bytes.

RFC 9113 and RFC 7541. Headers are sent literally and never decoded, so no table is kept.
"""

import struct
from collections.abc import Iterator, Sequence

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
ACK, END_STREAM, END_HEADERS = 0x1, 0x1, 0x4
CANCEL = 0x8
HEADER_TABLE_SIZE, ENABLE_PUSH, INITIAL_WINDOW_SIZE = 1, 2, 4
MAX_FRAME_BYTES = 16_384
DEFAULT_WINDOW_BYTES = 65_535
LARGEST_WINDOW_BYTES = (1 << 31) - 1

HEAD = struct.Struct(">BHBBI")
SETTING = struct.Struct(">HI")
PREFIX = struct.Struct(">BI")


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """One frame; the payload is at most MAX_FRAME_BYTES."""
    size = len(payload)
    return HEAD.pack(size >> 16, size & 0xFFFF, kind, flags, stream) + payload


def settings(values: dict[int, int]) -> bytes:
    """A SETTINGS frame."""
    payload = b"".join(SETTING.pack(key, value) for key, value in values.items())
    return frame(SETTINGS, 0, 0, payload)


def read_settings(payload: bytes) -> dict[int, int]:
    """What a SETTINGS frame says."""
    return dict(SETTING.iter_unpack(payload))


def window_update(stream: int, more_bytes: int) -> bytes:
    """A WINDOW_UPDATE frame; stream 0 is the connection."""
    return frame(WINDOW_UPDATE, 0, stream, more_bytes.to_bytes(4, "big"))


def reset(stream: int) -> bytes:
    """A RST_STREAM frame: the client wants no more of this call."""
    return frame(RST_STREAM, 0, stream, CANCEL.to_bytes(4, "big"))


def data_frames(stream: int, message: bytes) -> Iterator[bytes]:
    """A gRPC message, uncompressed, in as few DATA frames as the size allows."""
    whole = PREFIX.pack(0, len(message)) + message
    if len(whole) <= MAX_FRAME_BYTES:
        yield frame(DATA, 0, stream, whole)
        return
    for start in range(0, len(whole), MAX_FRAME_BYTES):
        yield frame(DATA, 0, stream, whole[start : start + MAX_FRAME_BYTES])


def request_headers(
    stream: int,
    path: str,
    authority: str,
    metadata: Sequence[tuple[str, str]],
    scheme: str = "http",
) -> bytes:
    """A HEADERS frame that begins a gRPC call."""
    fields = (
        (":method", "POST"),
        (":scheme", scheme),
        (":path", path),
        (":authority", authority),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
        ("user-agent", "rnnserve-bench"),
        *metadata,
    )
    block = b"".join(b"\0" + _literal(name) + _literal(value) for name, value in fields)
    return frame(HEADERS, END_HEADERS, stream, block)


def _literal(text: str) -> bytes:
    """A string without Huffman coding, shorter than 127 bytes."""
    data = text.encode()
    if len(data) >= 127:
        raise ValueError(f"a header of {len(data)} bytes")
    return bytes((len(data),)) + data
