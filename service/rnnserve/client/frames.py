"""Operations that wait, put together into frames."""

from collections import deque

from rnnserve.client.errors import BadInput
from rnnserve.errors import Reason
from rnnserve.v1 import rnnserve_pb2 as pb

UNTOLD_FRAME_BYTES = 64 * 1024
UNTOLD_FRAME_OPERATIONS = 256
"""How large a frame may get before the server has said its limits."""
# The tag and length before an entry, and an id that isn't set yet.
ENTRY_OVERHEAD_BYTES = 32


def entry_bytes(operation: pb.Operation) -> int:
    """What the operation takes in a frame, at most."""
    return operation.ByteSize() + ENTRY_OVERHEAD_BYTES


def take_frame(
    waiting: deque[pb.Operation], max_bytes: int, max_operations: int
) -> pb.OperationFrame:
    """Takes from the left of `waiting` what fits into a frame, and one operation at least."""
    taken = [waiting.popleft()]
    size = entry_bytes(taken[0])
    while waiting and len(taken) < max_operations:
        size += entry_bytes(waiting[0])
        if size > max_bytes:
            break
        taken.append(waiting.popleft())
    return pb.OperationFrame(operations=taken)


def fitting(operation: pb.Operation, max_bytes: int, what: str) -> pb.Operation:
    """The operation, when it fits into a frame of its own; raises BadInput (frame_too_large).

    A frame over the limit would end the stream for every session on it. 0: no limit is known.
    """
    size = entry_bytes(operation)
    if max_bytes and size > max_bytes:
        raise BadInput(
            Reason.FRAME_TOO_LARGE,
            f"{what} takes {size} bytes, the server's frames hold {max_bytes}",
            limit=max_bytes,
        )
    return operation
