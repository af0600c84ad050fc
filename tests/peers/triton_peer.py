"""tritonclient for tests: its calls by its names, from a process of its own.

Messages come back as the types of rnnserve's own stubs, which are the same ones: the contract test
holds them against tritonclient's.
"""

import os
import select
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from peers import lines
from peers.inference import Answer, PeerError, Request
from peers.place import CLIENT, CLIENT_PYTHON
from rnnserve.triton import grpc_service_pb2 as triton

Outcome = Answer | PeerError
PATIENCE_S = 30.0
"""How long a call may take before its process is given up."""


class TritonPeer:
    """One `InferenceServerClient`; a context manager that leaves no process behind.

    Calls raise PeerError where tritonclient raises, and take its keyword arguments `headers` and
    `client_timeout`. A test that enters one is skipped where tritonclient isn't installed.
    """

    def __init__(self, target: str) -> None:
        self._target = target

    def __enter__(self) -> "TritonPeer":
        CLIENT.require()
        self._process = subprocess.Popen(
            [CLIENT_PYTHON, "-m", "peers.triton_client", self._target],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.close()
            self._process.wait(5.0)
        except (BrokenPipeError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    # The server and its models.

    def is_server_live(self, **options: object) -> bool:
        return bool(self.call("is_server_live", **options))

    def is_server_ready(self, **options: object) -> bool:
        return bool(self.call("is_server_ready", **options))

    def is_model_ready(self, model_name: str, model_version: str = "", **options: object) -> bool:
        return bool(self.call("is_model_ready", **_named(model_name, model_version), **options))

    def get_server_metadata(self, **options: object) -> triton.ServerMetadataResponse:
        found = self.call("get_server_metadata", **options)
        return triton.ServerMetadataResponse.FromString(found)

    def get_model_metadata(
        self, model_name: str, model_version: str = "", **options: object
    ) -> triton.ModelMetadataResponse:
        found = self.call("get_model_metadata", **_named(model_name, model_version), **options)
        return triton.ModelMetadataResponse.FromString(found)

    def get_model_config(
        self, model_name: str, model_version: str = "", **options: object
    ) -> triton.ModelConfigResponse:
        found = self.call("get_model_config", **_named(model_name, model_version), **options)
        return triton.ModelConfigResponse.FromString(found)

    def get_inference_statistics(
        self, model_name: str = "", model_version: str = "", **options: object
    ) -> triton.ModelStatisticsResponse:
        names = _named(model_name, model_version)
        found = self.call("get_inference_statistics", **names, **options)
        return triton.ModelStatisticsResponse.FromString(found)

    # The repository.

    def get_model_repository_index(self, **options: object) -> triton.RepositoryIndexResponse:
        found = self.call("get_model_repository_index", **options)
        return triton.RepositoryIndexResponse.FromString(found)

    def load_model(
        self,
        model_name: str,
        config: str | None = None,
        files: Mapping[str, bytes] | None = None,
        **options: object,
    ) -> None:
        """`config` is JSON; `files` are contents by names that begin with `file:`."""
        self.call("load_model", model_name=model_name, config=config, files=files, **options)

    def unload_model(self, model_name: str, **options: object) -> None:
        self.call("unload_model", model_name=model_name, **options)

    # Inference.

    def infer(self, request: Request) -> Answer:
        return _answer(self.call("infer", **request.wire()))

    def async_infer(self, requests: Iterable[Request]) -> list[Outcome]:
        """All under way at once; what became of each, in the order of the requests."""
        wire = [request.wire() for request in requests]
        found = self.call("async_infer", requests=wire, timeout_s=PATIENCE_S / 2)
        return list(map(_outcome, found))

    @contextmanager
    def stream(self, **options: object) -> Iterator["TritonStream"]:
        """tritonclient has one at a time. `options` are those of its `start_stream`."""
        self.call("start_stream", **options)
        stream = TritonStream(self)
        try:
            yield stream
        finally:
            if not stream.stopped:
                stream.stop(cancel_requests=True)

    def stream_infer(self, requests: Iterable[Request], **options: object) -> list[Outcome]:
        """All on one stream and then its end; what came, in the order that it came."""
        with self.stream(**options) as stream:
            stream.send(*requests)
            return stream.stop()

    def contract(self) -> list[bytes]:
        """tritonclient's descriptors: the model configuration's and the service's."""
        descriptors: list[bytes] = self.call("contract")
        return descriptors

    def call(self, method: str, **arguments: object) -> Any:
        """Any method of the client by its name: the trace, log and shared-memory calls too.

        Returns its result, and a message as bytes.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(lines.write({"method": method, "arguments": arguments}) + "\n")
        if not select.select([self._process.stdout], [], [], PATIENCE_S)[0]:
            self._process.kill()
            raise AssertionError(f"tritonclient's {method} did not come back in {PATIENCE_S} s")
        line = self._process.stdout.readline()
        assert line, f"tritonclient's process ended in {method}; its words are on standard error"
        return _result(lines.read(line))


class TritonStream:
    """The client's stream, from `start_stream` to `stop_stream`."""

    def __init__(self, peer: TritonPeer) -> None:
        self._peer = peer
        self.stopped = False

    def send(self, *requests: Request) -> None:
        """Queue them. Raises PeerError once the stream has died."""
        wire = [request.wire() for request in requests]
        self._peer.call("async_stream_infer", requests=wire)

    def collect(self, count: int, timeout_s: float = PATIENCE_S / 2) -> list[Outcome]:
        """The next `count` outcomes in the order that they came; fails where one doesn't come."""
        return list(map(_outcome, self._peer.call("collect", count=count, timeout_s=timeout_s)))

    def stop(self, *, cancel_requests: bool = False) -> list[Outcome]:
        """Half-close and wait for what is under way, or cancel; the outcomes not collected."""
        self.stopped = True
        found = self._peer.call("stop_stream", cancel_requests=cancel_requests)
        return list(map(_outcome, found))


def _named(model_name: str, model_version: str) -> dict[str, object]:
    return {"model_name": model_name, "model_version": model_version}


def _result(reply: dict[str, Any]) -> Any:
    if "error" in reply:
        raise PeerError(**reply["error"])
    assert "fault" not in reply, f"tritonclient broke:\n{reply['fault']}"
    return reply["result"]


def _answer(found: dict[str, Any]) -> Answer:
    response = triton.ModelInferResponse.FromString(found["response"])
    return Answer(response, found["outputs"])


def _outcome(found: dict[str, Any]) -> Outcome:
    if "error" in found:
        return PeerError(**found["error"])
    return _answer(found["result"])
