"""The bare wire: a grpc.aio server that answers every message and does nothing else.

What it costs is what any server in grpc.aio has to pay, on the same event loop as rnnserve. There
are two ways to write such a handler; both are here and the bench takes the cheaper.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import uvloop

SERVICE = "bench.Echo"
READ_WRITE, ITERATE = "ReadWrite", "Iterate"
REPLY_BYTES = "reply-bytes"
"""Metadata of a call: the size of each answer."""


async def read_write(_: object, context: Any) -> None:
    """Messages by `context.read` and `context.write`."""
    answer = _answer(context)
    while (await context.read()) is not grpc.aio.EOF:
        await context.write(answer)


async def iterate(messages: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
    """Messages by `async for` and `yield`."""
    answer = _answer(context)
    async for _ in messages:
        yield answer


def _answer(context: Any) -> bytes:
    metadata = dict(context.invocation_metadata())
    return bytes(int(metadata[REPLY_BYTES]))


async def serve() -> None:
    """Serve on a free port of loopback until the process is ended."""
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", -1),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", 0),
        ]
    )
    # Without serializers gRPC hands bytes through.
    handlers: dict[str, Any] = {
        READ_WRITE: grpc.stream_stream_rpc_method_handler(read_write),
        ITERATE: grpc.stream_stream_rpc_method_handler(iterate),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"echo is ready: 127.0.0.1:{port}", flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve())
