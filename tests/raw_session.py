"""A session spoken by hand in messages, so that a test can say what no good client would."""

import queue
from collections.abc import Iterable
from itertools import count

import grpc
import numpy as np
from google.rpc import code_pb2, error_details_pb2, status_pb2

from rnnserve.v1 import rnnserve_pb2 as v1

IDS = count(1)


class RawStream:
    """The bidirectional stream, spoken by hand."""

    def __init__(self, stub) -> None:
        self._frames: queue.Queue[v1.OperationFrame | None] = queue.Queue()
        self.call = stub.Stream(iter(self._frames.get, None))

    def send(self, *operations: v1.Operation) -> None:
        self._frames.put(v1.OperationFrame(operations=operations))

    def events(self, count: int) -> dict[int, v1.Event]:
        """The next `count` events, by operation id."""
        found: dict[int, v1.Event] = {}
        while len(found) < count:
            found |= {event.id: event for event in next(self.call).events}
        return found

    def finish(self) -> None:
        self._frames.put(None)


def numbered(operation: v1.Operation, number: int) -> v1.Operation:
    operation.id = number
    return operation


def exchange(stub, *operations: v1.Operation) -> list[v1.Event]:
    """One frame by the unary twin; the events in the operations' order."""
    for operation in operations:
        operation.id = operation.id or next(IDS)
    return list(stub.Exchange(v1.OperationFrame(operations=operations)).events)


def streamed(stub, *operations: v1.Operation) -> list[v1.Event]:
    """One frame by a stream of its own; the events in the operations' order."""
    for operation in operations:
        operation.id = next(IDS)
    stream = RawStream(stub)
    stream.send(*operations)
    found = stream.events(len(operations))
    stream.finish()
    assert list(stream.call) == []
    return [found[operation.id] for operation in operations]


def open_session(stub, model: str = "lstm2", **more) -> str:
    (event,) = exchange(stub, v1.Operation(open=v1.Open(model=model, **more)))
    assert event.WhichOneof("kind") == "opened", event
    return event.opened.session_id


def close(session_id: str) -> v1.Operation:
    return v1.Operation(close=v1.Close(session_id=session_id))


def reset(session_id: str, index: int, **more) -> v1.Operation:
    return v1.Operation(reset=v1.Reset(session_id=session_id, index=index, **more))


def fork(session_id: str, count: int = 1, **more) -> v1.Operation:
    return v1.Operation(fork=v1.Fork(session_id=session_id, count=count, **more))


def export(session_id: str, **more) -> v1.Operation:
    return v1.Operation(export=v1.Export(session_id=session_id, **more))


def restore(model: str, blob: bytes, **more) -> v1.Operation:
    return v1.Operation(import_blob=v1.Import(model=model, blob=blob, **more))


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


def retry_ms(event: v1.Event) -> int:
    """When an error says to try again; 0: it doesn't say."""
    retry = error_details_pb2.RetryInfo()
    packed = [detail for detail in event.error.details if detail.Unpack(retry)]
    return retry.retry_delay.ToMilliseconds() if packed else 0


def reason_of(error: grpc.RpcError) -> str:
    """The reason with which a whole call ended."""
    details = dict(error.trailing_metadata())["grpc-status-details-bin"]
    info = error_details_pb2.ErrorInfo()
    assert status_pb2.Status.FromString(details).details[0].Unpack(info)
    return info.reason
