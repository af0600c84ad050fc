"""Steps of sequences against Triton, over streams or over unary calls.

The Open Inference Protocol's messages are written as bytes: its generated code would claim names
that other packages claim too, and a process takes only one of them.
"""

from itertools import count
from typing import Any

from rnnserve_bench.errors import BenchProblem
from rnnserve_bench.frames import field, varint
from rnnserve_bench.load import Load, drive
from rnnserve_bench.sample import Sample
from rnnserve_bench.session_talk import LOGIT_BYTES, tokens_of

SERVICE = "/inference.GRPCInferenceService"
INPUT = "TOKENS"
# Field numbers of ModelInferRequest; its parameters hold bool_param 1 or int64_param 2.
MODEL_NAME, PARAMETERS, INPUTS, RAW_INPUT = 1, 4, 5, 7
BOOL, INT64 = b"\x08", b"\x10"
TOKEN_BYTES = 8
WINDOW_SEQUENCES = 4096
"""Each window has ids of its own, so that none is taken for one that a broken window left."""

_windows = count(1)


def request_bytes(
    model: str, sequence: int, tokens: bytes, *, start: bool = False, end: bool = False
) -> bytes:
    """A ModelInferRequest with one chunk, tokens (1, T) int64."""
    values = {
        "sequence_id": INT64 + varint(sequence),
        "sequence_start": BOOL + varint(start),
        "sequence_end": BOOL + varint(end),
    }
    entries = (field(1, key.encode()) + field(2, value) for key, value in values.items())
    parameters = b"".join(field(PARAMETERS, entry) for entry in entries)
    shape = varint(1) + varint(len(tokens) // TOKEN_BYTES)
    tensor = field(1, INPUT.encode()) + field(2, b"INT64") + field(3, shape)
    name = field(MODEL_NAME, model.encode())
    return name + parameters + field(INPUTS, tensor) + field(RAW_INPUT, tokens)


def logits_of(reply: Any, answer_bytes: int) -> bytes:
    """The output's bytes, which are the last field of a reply, over a stream too.

    Raises BenchProblem where the field's length isn't `answer_bytes`: an error, for one.
    """
    if not isinstance(reply, bytes):
        raise BenchProblem(f"Triton ended a call ({reply!r})")
    tail = varint(answer_bytes)
    at = len(reply) - answer_bytes - len(tail)
    if at < 0 or reply[at : at + len(tail)] != tail:
        raise BenchProblem(f"Triton answered {reply[:200]!r}")
    return bytes(reply[len(reply) - answer_bytes :])


def unary(channel: Any) -> Any:
    """ModelInfer as a function of bytes."""
    return channel.unary_unary(f"{SERVICE}/ModelInfer")


class Sequence:
    """One sequence's messages. Triton knows no index: the same bytes go every time."""

    def __init__(self, load: Load, place: int, window: int) -> None:
        tokens = tokens_of(place, load)
        number = window * WINDOW_SEQUENCES + place
        self._answer_bytes = load.chunk_steps * load.vocabulary * LOGIT_BYTES
        self.first = request_bytes(load.model, number, tokens, start=True)
        self.next = request_bytes(load.model, number, tokens)
        self.last = request_bytes(load.model, number, tokens, end=True)

    def check(self, reply: Any) -> None:
        """Raises BenchProblem unless the reply holds an output of the right size."""
        logits_of(reply, self._answer_bytes)


class StreamTalk:
    """Some sequences over one ModelStreamInfer: all send a step, then all answers are read."""

    def __init__(self, call: Any, sequences: list[Sequence], steps: int) -> None:
        self.steps = steps
        self._call, self._sequences = call, sequences

    @classmethod
    async def join(cls, channel: Any, load: Load, place: int) -> "StreamTalk":
        window = next(_windows)
        places = range(place * load.sequences, (place + 1) * load.sequences)
        sequences = [Sequence(load, p, window) for p in places]
        call: Any = channel.stream_stream(f"{SERVICE}/ModelStreamInfer")()
        talk = cls(call, sequences, load.sequences * load.chunk_steps)
        await talk._send([sequence.first for sequence in sequences])
        return talk

    async def exchange(self) -> None:
        await self._send([sequence.next for sequence in self._sequences])

    async def leave(self) -> None:
        await self._send([sequence.last for sequence in self._sequences])
        await self._call.done_writing()

    async def _send(self, requests: list[bytes]) -> None:
        for request in requests:
            await self._call.write(request)
        # Answers on a stream come in the order of the requests.
        for sequence in self._sequences:
            sequence.check(await self._call.read())


class UnaryTalk:
    """One sequence over ModelInfer."""

    def __init__(self, method: Any, sequence: Sequence, steps: int) -> None:
        self.steps = steps
        self._method, self._sequence = method, sequence

    @classmethod
    async def join(cls, channel: Any, load: Load, place: int) -> "UnaryTalk":
        sequence = Sequence(load, place, next(_windows))
        talk = cls(unary(channel), sequence, load.chunk_steps)
        sequence.check(await talk._method(sequence.first))
        return talk

    async def exchange(self) -> None:
        self._sequence.check(await self._method(self._sequence.next))

    async def leave(self) -> None:
        self._sequence.check(await self._method(self._sequence.last))


async def triton_streams(load: Load) -> Sample:
    """Closed loop over streams, `load.sequences` sequences on each."""
    return await drive(load, StreamTalk.join)


async def triton_unary(load: Load) -> Sample:
    """Closed loop, one unary call of each sequence under way."""
    return await drive(load, UnaryTalk.join)
