"""Operations that wait, put together into frames."""

from collections import deque

from rnnserve.v1 import rnnserve_pb2 as pb

UNTOLD_FRAME_BYTES = 64 * 1024
"""How large a frame may get before the server has said its limit."""
# The tag and length before an entry, and an id that isn't set yet.
ENTRY_OVERHEAD_BYTES = 32


def entry_bytes(operation: pb.Operation) -> int:
    """What the operation takes in a frame, at most."""
    return operation.ByteSize() + ENTRY_OVERHEAD_BYTES


def take_frame(waiting: deque[pb.Operation], max_bytes: int) -> pb.OperationFrame:
    """Takes from the left of `waiting` what fits into `max_bytes`, and one operation at least."""
    taken = [waiting.popleft()]
    size = entry_bytes(taken[0])
    while waiting and (size := size + entry_bytes(waiting[0])) <= max_bytes:
        taken.append(waiting.popleft())
    return pb.OperationFrame(operations=taken)
