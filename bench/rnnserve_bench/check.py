"""The same numbers everywhere: what is served must be what the graph gives when run alone."""

from typing import Any

import numpy as np

from rnnserve.v1 import rnnserve_pb2 as v1
from rnnserve_bench.channels import open_channels
from rnnserve_bench.errors import BenchProblem
from rnnserve_bench.load import Load
from rnnserve_bench.session_talk import STREAM, close_session, first_event, open_session
from rnnserve_bench.triton_talk import logits_of, request_bytes, unary

CHECKED_STEPS = 48
TOLERANCE = 1e-4
SEQUENCE = 999_999


def checked_tokens(vocabulary: int) -> np.ndarray:
    """The text that every server is asked about, (T,) int64."""
    return np.random.default_rng(5).integers(0, vocabulary, CHECKED_STEPS)


def difference(served: np.ndarray, alone: np.ndarray) -> float:
    """The largest of |served - alone|, both (T, V). Raises BenchProblem when over TOLERANCE."""
    largest = float(np.abs(served - alone).max())
    if not largest <= TOLERANCE:
        raise BenchProblem(f"served logits differ by {largest} from the graph's own")
    return largest


async def rnnserve_logits(load: Load) -> np.ndarray:
    """The logits (T, V) of the checked tokens, a step in each message."""
    rows = []
    async with open_channels(load.target, load.client) as (channel,):
        call: Any = channel.stream_stream(STREAM)()
        session_id = await open_session(call, load.model)
        for index, token in enumerate(checked_tokens(load.vocabulary)):
            step = v1.Step(session_id=session_id, index=index, inputs=[token.tobytes()])
            frame = v1.OperationFrame(operations=[v1.Operation(id=1, step=step)])
            await call.write(frame.SerializeToString())
            event = first_event(await call.read(), "stepped")
            rows.append(np.frombuffer(event.stepped.outputs[0], np.float32))
        await close_session(call, session_id)
    return np.stack(rows)


async def triton_logits(load: Load) -> np.ndarray:
    """The same from Triton."""
    rows = []
    async with open_channels(load.target, load.client) as (channel,):
        infer = unary(channel)
        tokens = checked_tokens(load.vocabulary)
        for place, token in enumerate(tokens):
            start, end = place == 0, place == len(tokens) - 1
            request = request_bytes(load.model, SEQUENCE, token.tobytes(), start=start, end=end)
            reply = await infer(request)
            rows.append(np.frombuffer(logits_of(reply, load.vocabulary * 4), np.float32))
    return np.stack(rows)
