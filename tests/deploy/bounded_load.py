"""Enough of everything that a server counts, by our own client, until told to stop."""

import itertools
import threading

import grpc

from raw_session import RawStream, close, exchange, open_session, step
from rnnserve.v1 import rnnserve_pb2 as v1
from rnnserve.v1 import rnnserve_pb2_grpc

REST_S = 0.02
"""Between two rounds: the load is there to be seen, not to be felt."""


class BoundedLoad:
    """A thread that goes round; a context manager that ends it, and raises what went wrong."""

    def __init__(self, channel: grpc.Channel, model: str, max_sessions: int) -> None:
        self._stub = rnnserve_pb2_grpc.RnnServeStub(channel)
        self._model = model
        self._max_sessions = max_sessions
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._go_round)
        self._failure: BaseException | None = None

    def __enter__(self) -> "BoundedLoad":
        # What stays: a session, and a stream that it steps on.
        self._session = open_session(self._stub, self._model)
        self._stream = RawStream(self._stub)
        # One round is over before anybody looks.
        self._act(0)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._stream.finish()
        if self._failure is not None:
            raise self._failure

    def _go_round(self) -> None:
        try:
            for index in itertools.count(1):
                if self._stop.wait(REST_S):
                    return
                self._act(index)
        except BaseException as failure:
            self._failure = failure

    def _act(self, index: int) -> None:
        self._step(index)
        self._come_and_go()
        self._generate()
        self._ask_too_much()

    def _step(self, index: int) -> None:
        """A step on the stream, and the same once more."""
        for number in (2 * index + 1, 2 * index + 2):
            again = step(self._session, index, [1])
            again.id = number
            self._stream.send(again)
            assert self._stream.events(1)[number].WhichOneof("kind") == "stepped"

    def _come_and_go(self) -> None:
        """A session, one wrong step, and its end."""
        session = open_session(self._stub, self._model)
        gap, closed = exchange(self._stub, step(session, 9, [1]), close(session))
        assert gap.WhichOneof("kind") == "error"
        assert closed.WhichOneof("kind") == "closed"

    def _generate(self) -> None:
        request = v1.GenerateRequest(model=self._model, text="a")
        request.sampling.max_tokens = 8
        list(self._stub.Generate(request))

    def _ask_too_much(self) -> None:
        """One session more than there is room for."""
        opening = [v1.Operation(open=v1.Open(model=self._model)) for _ in range(self._max_sessions)]
        events = exchange(self._stub, *opening)
        assert events[-1].WhichOneof("kind") == "error"
        opened = [event.opened.session_id for event in events[:-1]]
        exchange(self._stub, *map(close, opened))
