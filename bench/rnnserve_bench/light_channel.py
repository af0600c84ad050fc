"""A gRPC client that costs little: asyncio and HTTP/2 frames, no more than a load generator needs.

grpc.aio's own client takes as much of a core for a message as a server does, so it is saturated
before a bare server is. This one has the surface of `grpc.aio.Channel` that the load uses. It
checks nothing of what a peer might do wrong but what would make a measurement wrong.
"""

import asyncio
import ssl
from collections import deque
from collections.abc import Sequence
from typing import Any

from rnnserve_bench import light_frames as h2
from rnnserve_bench.errors import BenchProblem
from rnnserve_bench.tls import HTTP2

RECEIVE_WINDOW_BYTES = 1 << 30
Metadata = Sequence[tuple[str, str]]


class LightCall:
    """One call: messages out, messages in."""

    def __init__(self, connection: "LightConnection", stream: int) -> None:
        self.window_bytes = connection.initial_window_bytes
        self._connection, self._stream = connection, stream
        self._ready: deque[bytes] = deque()
        self._partial = b""
        self._waiter: asyncio.Future[bytes | None] | None = None
        self._ended = False

    async def write(self, message: bytes) -> None:
        """Send a message once the peer has room for it."""
        for frame in h2.data_frames(self._stream, message):
            size = len(frame) - h2.HEAD.size
            while min(self.window_bytes, self._connection.window_bytes) < size:
                await self._connection.room()
            self.window_bytes -= size
            self._connection.window_bytes -= size
            self._connection.send(frame)

    def post(self, message: bytes) -> bool:
        """Send a message at once; False, and nothing is sent, where the peer has no room for it."""
        size = h2.PREFIX.size + len(message)
        if min(self.window_bytes, self._connection.window_bytes) < size or self._ended:
            return False
        self.window_bytes -= size
        self._connection.window_bytes -= size
        for frame in h2.data_frames(self._stream, message):
            self._connection.send(frame)
        return True

    def cancel(self) -> None:
        """End the call without waiting for anything."""
        if not self._ended:
            self._connection.send(h2.reset(self._stream))
            self.end()

    async def read(self) -> bytes | None:
        """The next message; None when the server has ended the call."""
        if self._ready:
            return self._ready.popleft()
        if self._ended:
            return None
        self._waiter = asyncio.get_running_loop().create_future()
        return await self._waiter

    async def done_writing(self) -> None:
        """No more messages."""
        self._connection.send(h2.frame(h2.DATA, h2.END_STREAM, self._stream, b""))

    def data(self, chunk: bytes) -> None:
        """Bytes of messages have come."""
        if self._partial:
            chunk = self._partial + chunk
        at, end = 0, len(chunk)
        while end - at >= h2.PREFIX.size:
            _, size = h2.PREFIX.unpack_from(chunk, at)
            start = at + h2.PREFIX.size
            if end - start < size:
                break
            at = start + size
            self._deliver(chunk[start:at])
        self._partial = chunk[at:]

    def end(self) -> None:
        """The server has ended the call, or the connection is gone."""
        self._ended = True
        self._connection.forget(self._stream)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _deliver(self, message: bytes) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(message)
            self._waiter = None
        else:
            self._ready.append(message)


class LightConnection(asyncio.Protocol):
    """One connection and its calls."""

    def __init__(self) -> None:
        self.window_bytes = self.initial_window_bytes = h2.DEFAULT_WINDOW_BYTES
        self._calls: dict[int, LightCall] = {}
        self._next_stream = 1
        self._transport: Any = None
        self._rest = b""
        self._out: list[bytes] = []
        self._received_bytes = 0
        self._roomier = asyncio.Event()
        self.ready = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        ours = {h2.ENABLE_PUSH: 0, h2.INITIAL_WINDOW_SIZE: RECEIVE_WINDOW_BYTES}
        more = h2.window_update(0, RECEIVE_WINDOW_BYTES - h2.DEFAULT_WINDOW_BYTES)
        self._transport.write(h2.PREFACE + h2.settings(ours) + more)

    def connection_lost(self, error: Exception | None) -> None:
        for call in list(self._calls.values()):
            call.end()
        self.ready.set()
        self._roomier.set()

    def begin(self, path: str, authority: str, metadata: Metadata) -> LightCall:
        """A new call."""
        stream, self._next_stream = self._next_stream, self._next_stream + 2
        call = self._calls[stream] = LightCall(self, stream)
        if self.is_closed:
            call.end()
            return call
        scheme = "https" if self.is_secure else "http"
        self.send(h2.request_headers(stream, path, authority, metadata, scheme))
        return call

    def forget(self, stream: int) -> None:
        """The call has ended."""
        self._calls.pop(stream, None)

    def send(self, frame: bytes) -> None:
        """What is written in one turn of the loop leaves in one system call."""
        if len(self._calls) == 1:
            self._transport.write(frame)
            return
        if not self._out:
            asyncio.get_running_loop().call_soon(self._flush)
        self._out.append(frame)

    async def room(self) -> None:
        """Wait until a window has grown. Raises BenchProblem when the connection is gone."""
        if self._transport.is_closing():
            raise BenchProblem("the server has closed the connection")
        self._roomier.clear()
        await self._roomier.wait()

    def close(self) -> None:
        self._transport.close()

    def abort(self) -> None:
        """Be gone without a word: what was written may not even leave."""
        self._transport.abort()

    def hold(self, held: bool) -> None:
        """Whether to leave what comes in the socket, as a peer does that has stopped reading."""
        if held:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    @property
    def is_closed(self) -> bool:
        return bool(self._transport.is_closing())

    @property
    def is_secure(self) -> bool:
        """Whether it is TLS."""
        return self._transport.get_extra_info("sslcontext") is not None

    @property
    def protocol(self) -> str | None:
        """What TLS has agreed on to speak; None without TLS, or without an agreement."""
        session: ssl.SSLObject | None = self._transport.get_extra_info("ssl_object")
        return None if session is None else session.selected_alpn_protocol()

    def data_received(self, data: bytes) -> None:
        if self._rest:
            data = self._rest + data
        at, end = 0, len(data)
        while end - at >= h2.HEAD.size:
            high, low, kind, flags, stream = h2.HEAD.unpack_from(data, at)
            start = at + h2.HEAD.size
            stop = start + (high << 16 | low)
            if stop > end:
                break
            self._frame(kind, flags, stream, data[start:stop])
            at = stop
        self._rest = data[at:]

    def _flush(self) -> None:
        out, self._out = self._out, []
        self._transport.write(b"".join(out))

    def _frame(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == h2.DATA:
            if call := self._calls.get(stream):
                call.data(payload)
            self._received_bytes += len(payload)
            if self._received_bytes > RECEIVE_WINDOW_BYTES // 2:
                self.send(h2.window_update(0, self._received_bytes))
                self._received_bytes = 0
        elif kind == h2.WINDOW_UPDATE:
            self._grow(stream, int.from_bytes(payload, "big"))
        elif kind == h2.SETTINGS and not flags & h2.ACK:
            self._settle(h2.read_settings(payload))
        elif kind == h2.PING and not flags & h2.ACK:
            self._transport.write(h2.frame(h2.PING, h2.ACK, 0, payload))
        ends = kind in (h2.DATA, h2.HEADERS) and flags & h2.END_STREAM
        if (ends or kind == h2.RST_STREAM) and (call := self._calls.get(stream)):
            call.end()

    def _grow(self, stream: int, more_bytes: int) -> None:
        if stream == 0:
            self.window_bytes += more_bytes
        elif call := self._calls.get(stream):
            call.window_bytes += more_bytes
        self._roomier.set()

    def _settle(self, theirs: dict[int, int]) -> None:
        if (initial := theirs.get(h2.INITIAL_WINDOW_SIZE)) is not None:
            for call in self._calls.values():
                call.window_bytes += initial - self.initial_window_bytes
            self.initial_window_bytes = initial
            self._roomier.set()
        self._transport.write(h2.frame(h2.SETTINGS, h2.ACK, 0, b""))
        self.ready.set()


class LightChannel:
    """The part of `grpc.aio.Channel` that the load uses; without serializers."""

    def __init__(self, target: str, tls: ssl.SSLContext | None = None) -> None:
        """`tls` as `Tls.context` makes it; None: plaintext."""
        self._target, self._tls = target, tls
        self._connection: LightConnection | None = None

    async def channel_ready(self) -> None:
        """Connect. Raises OSError or BenchProblem."""
        host, _, port = self._target.rpartition(":")
        loop = asyncio.get_running_loop()
        _, self._connection = await loop.create_connection(
            LightConnection, host, int(port), ssl=self._tls
        )
        if self._tls is not None and self._connection.protocol != HTTP2:
            self._connection.abort()
            raise BenchProblem(f"{self._target} speaks TLS and not HTTP/2")
        await self._connection.ready.wait()
        if self._connection.is_closed:  # with TLS 1.3, also when it refuses our certificate
            raise ConnectionError("the server ended the connection as soon as it was there")

    async def close(self) -> None:
        """End the connection with whatever is under way."""
        if self._connection is not None:
            self._connection.close()

    @property
    def connection(self) -> LightConnection:
        """What the calls share, once it is ready."""
        assert self._connection is not None
        return self._connection

    @property
    def is_closed(self) -> bool:
        """Whether no call can begin: never connected, or no longer."""
        return self._connection is None or self._connection.is_closed

    def stream_stream(self, path: str) -> Any:
        """Messages out, messages in."""
        return lambda metadata=(): self._begin(path, metadata)

    def unary_unary(self, path: str) -> Any:
        """One message out, one in: an async function of bytes."""

        async def call(request: bytes) -> bytes | None:
            under_way = self._begin(path, ())
            await under_way.write(request)
            await under_way.done_writing()
            return await under_way.read()

        return call

    def unary_stream(self, path: str) -> Any:
        """One message out, messages in."""
        return lambda request: _Answers(self._begin(path, ()), request)

    def _begin(self, path: str, metadata: Metadata) -> LightCall:
        return self.connection.begin(path, self._target, metadata)


class _Answers:
    """A call whose one request goes out with the first read."""

    def __init__(self, call: LightCall, request: bytes) -> None:
        self._call = call
        self._request: bytes | None = request

    async def read(self) -> bytes | None:
        if self._request is not None:
            request, self._request = self._request, None
            await self._call.write(request)
            await self._call.done_writing()
        return await self._call.read()
