"""Messages as bytes, made once; only the index changes from step to step.

The load generator shares the machine with what it measures, and building a message object for
every step would cost it more than the server spends on reading it.
"""

from rnnserve.v1 import rnnserve_pb2 as v1

# Field numbers of rnnserve.v1, as tags of the wire format.
ENTRY, STEP = b"\x0a", b"\x1a"  # frame's operations or events; Operation.step, Event.stepped
ID = b"\x08"  # Operation.id, Event.id
OUTPUT = b"\x12"  # Stepped.outputs
STEP_INDEX, REPLY_INDEX = b"\x10", b"\x08"

VARINT_LENGTHS = range(1, 6)


def varint(value: int) -> bytes:
    """Protobuf's variable-length number, 0 <= value."""
    if value < 0x80:
        return bytes((value,))
    if value < 0x4000:
        return bytes((value & 0x7F | 0x80, value >> 7))
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def field(number: int, data: bytes) -> bytes:
    """A length-delimited field: a string, bytes or a message."""
    return varint(number << 3 | 2) + varint(len(data)) + data


class StepBytes:
    """One session's step messages: always the same input, the index counted up."""

    def __init__(
        self, session_id: str, inputs: bytes, data_type: int, operation_id: int, reply_bytes: int
    ) -> None:
        """`inputs` is T x one step, `reply_bytes` the size of the answer's one output."""
        before = field(1, session_id.encode()) + STEP_INDEX
        self._after = field(3, inputs) + field(4, varint(data_type))
        self._heads = {}
        self._reply_heads = {}
        for length in VARINT_LENGTHS:
            step = varint(len(before) + length + len(self._after)) + before
            operation = ID + varint(operation_id) + STEP + step
            size = len(operation) + length + len(self._after)
            self._heads[length] = ENTRY + varint(size) + operation

            rest = OUTPUT + varint(reply_bytes)
            stepped = varint(len(REPLY_INDEX) + length + len(rest) + reply_bytes) + REPLY_INDEX
            event = ID + varint(operation_id) + STEP + stepped
            size = len(event) + length + len(rest) + reply_bytes
            self._reply_heads[length] = (ENTRY + varint(size) + event, rest)
        self.reply_bytes = reply_bytes

    def request(self, index: int) -> bytes:
        """The step at `index` as an entry of a frame; a frame of one is this alone."""
        number = varint(index)
        return self._heads[len(number)] + number + self._after

    def reply_head(self, index: int) -> bytes:
        """How the answer begins when it is right; `reply_bytes` of output follow."""
        number = varint(index)
        head, rest = self._reply_heads[len(number)]
        return head + number + rest


def reply_is_right(reply: bytes, index: int, step: StepBytes) -> bool:
    """Whether a frame holds one event: the answer to the step at `index`, of the right size."""
    head = step.reply_head(index)
    if reply.startswith(head) and len(reply) == len(head) + step.reply_bytes:
        return True
    # Another order of fields says the same, so bytes that differ aren't wrong yet.
    events = v1.EventFrame.FromString(reply).events
    if len(events) != 1:
        return False
    stepped = events[0].stepped
    return stepped.index == index and [len(o) for o in stepped.outputs] == [step.reply_bytes]
