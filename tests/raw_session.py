"""A session spoken by hand in messages, so that a test can say what no good client would."""

from collections.abc import Iterable
from itertools import count

import numpy as np
from google.rpc import code_pb2, error_details_pb2

from rnnserve.v1 import rnnserve_pb2 as v1

IDS = count(1)


def exchange(stub, *operations: v1.Operation) -> list[v1.Event]:
    """One frame by the unary twin; the events in the operations' order."""
    for operation in operations:
        operation.id = operation.id or next(IDS)
    return list(stub.Exchange(v1.OperationFrame(operations=operations)).events)


def open_session(stub, model: str = "lstm2") -> str:
    (event,) = exchange(stub, v1.Operation(open=v1.Open(model=model)))
    assert event.WhichOneof("kind") == "opened", event
    return event.opened.session_id


def close(session_id: str) -> v1.Operation:
    return v1.Operation(close=v1.Close(session_id=session_id))


def step(session_id: str, index: int, tokens: Iterable[int] | bytes, **more) -> v1.Operation:
    data = tokens if isinstance(tokens, bytes) else np.array(list(tokens), np.int64).tobytes()
    return v1.Operation(step=v1.Step(session_id=session_id, index=index, inputs=[data], **more))


def logits(event: v1.Event, width: int) -> np.ndarray:
    """The logits (T, V) of a step's answer."""
    assert event.WhichOneof("kind") == "stepped", event
    return np.frombuffer(event.stepped.outputs[0], np.float32).reshape(-1, width)


def refusal(event: v1.Event) -> tuple[str, str, dict[str, str]]:
    """Code, reason and facts of an error."""
    assert event.WhichOneof("kind") == "error", event
    info = error_details_pb2.ErrorInfo()
    assert event.error.details[0].Unpack(info)
    return code_pb2.Code.Name(event.error.code), info.reason, dict(info.metadata)
