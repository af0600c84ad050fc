"""tritonclient on command, in the peers' environment: `python -m peers.triton_client HOST:PORT`.

Reads requests from standard input, a line each: `{"method": ..., "arguments": {...}}`; writes a
line for each: `{"result": ...}`, `{"error": {"code": ..., "message": ...}}` for an exception of
tritonclient's, or `{"fault": ...}`, a traceback, for any other. Ends with its input.
"""

import os
import queue
import sys
import traceback
from typing import Any

from google.protobuf.message import Message
from tritonclient.grpc import (
    InferenceServerClient,
    InferInput,
    InferRequestedOutput,
    InferResult,
    model_config_pb2,
    service_pb2,
)
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from peers import lines

Outcome = tuple[InferResult | None, InferenceServerException | None]


class Commands:
    """One client. The methods are commands; what isn't one of them is the client's own."""

    def __init__(self, target: str) -> None:
        self._client = InferenceServerClient(target)
        self._stream: queue.SimpleQueue[Outcome] = queue.SimpleQueue()

    def carry_out(self, method: str, arguments: dict[str, Any]) -> object:
        command = getattr(self, method, None) or getattr(self._client, method)
        found = command(**arguments)
        return found.SerializeToString() if isinstance(found, Message) else found

    def contract(self) -> list[bytes]:
        """The descriptors of the two files that the client was generated from."""
        return [module.DESCRIPTOR.serialized_pb for module in (model_config_pb2, service_pb2)]

    def infer(self, **request: Any) -> dict[str, object]:
        return said(self._client.infer(**arguments_of(request)))

    def async_infer(self, requests: list[dict[str, Any]], timeout_s: float) -> list[object]:
        """All under way at once; the outcomes in the requests' order."""
        waiting: list[queue.SimpleQueue[Outcome]] = [queue.SimpleQueue() for _ in requests]
        for request, answers in zip(requests, waiting, strict=True):
            self._client.async_infer(callback=into(answers), **arguments_of(request))
        return [outcome(answers.get(timeout=timeout_s)) for answers in waiting]

    def start_stream(self, **options: Any) -> None:
        self._stream = queue.SimpleQueue()
        self._client.start_stream(into(self._stream), **options)

    def async_stream_infer(self, requests: list[dict[str, Any]]) -> None:
        for request in requests:
            self._client.async_stream_infer(**arguments_of(request))

    def collect(self, count: int, timeout_s: float) -> list[object]:
        """The next outcomes of the stream, in the order that they came."""
        return [outcome(self._stream.get(timeout=timeout_s)) for _ in range(count)]

    def stop_stream(self, cancel_requests: bool) -> list[object]:
        """End the stream; the outcomes that nobody collected."""
        self._client.stop_stream(cancel_requests)
        rest: list[object] = []
        while not self._stream.empty():
            rest.append(outcome(self._stream.get()))
        return rest


def into(answers: "queue.SimpleQueue[Outcome]") -> Any:
    return lambda result, error: answers.put((result, error))


def arguments_of(request: dict[str, Any]) -> dict[str, Any]:
    """tritonclient's own objects for the tensors; all else as it came."""
    outputs = request["outputs"]
    if outputs is not None:
        outputs = [requested_output(**each) for each in outputs]
    return {**request, "inputs": [input_of(**each) for each in request["inputs"]],
            "outputs": outputs}  # fmt: skip


def input_of(name: str, data: Any, shape: Any, datatype: str, region: Any) -> InferInput:
    if data is None:
        tensor = InferInput(name, shape or [], datatype)
    else:
        tensor = InferInput(name, data.shape, np_to_triton_dtype(data.dtype))
        tensor.set_data_from_numpy(data)
        if shape is not None:
            tensor.set_shape(shape)
    if region is not None:
        tensor.set_shared_memory(region["name"], region["byte_size"], region["offset"])
    return tensor


def requested_output(name: str, class_count: int, region: Any) -> InferRequestedOutput:
    output = InferRequestedOutput(name, class_count)
    if region is not None:
        output.set_shared_memory(region["name"], region["byte_size"], region["offset"])
    return output


def said(result: InferResult) -> dict[str, object]:
    response = result.get_response()
    arrays = {output.name: result.as_numpy(output.name) for output in response.outputs}
    return {"response": response.SerializeToString(), "outputs": arrays}


def outcome(found: Outcome) -> dict[str, object]:
    result, error = found
    if error is not None:
        return refused(error)
    assert result is not None
    return {"result": said(result)}


def refused(error: InferenceServerException) -> dict[str, object]:
    status = error.status()
    code = status.removeprefix("StatusCode.") if status else None
    return {"error": {"code": code, "message": error.message()}}


def main() -> None:
    # Lines have standard output to themselves; whatever else is printed goes beside it.
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    commands = Commands(sys.argv[1])
    for line in sys.stdin:
        try:
            reply: dict[str, object] = {"result": commands.carry_out(**lines.read(line))}
        except InferenceServerException as error:
            reply = refused(error)
        except Exception:
            reply = {"fault": traceback.format_exc()}
        replies.write(lines.write(reply) + "\n")


if __name__ == "__main__":
    main()
