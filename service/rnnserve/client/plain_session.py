"""A session of the client without asyncio: every operation is a call of its own."""

import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Self, Unpack

import grpc
from numpy.typing import ArrayLike

from rnnserve.client.carry import Carry
from rnnserve.client.channel import (
    BUSY_PAUSES_S,
    CLOSE_TIMEOUT_S,
    broke_off,
    may_go_twice,
    telling,
)
from rnnserve.client.errors import ServerError, from_rpc_error
from rnnserve.client.generation import End, Prompt, Sampling, continue_request
from rnnserve.client.outcome import event_of, outcome_of
from rnnserve.client.plain_generation import Continued, Generation
from rnnserve.client.progress import Answer, Progress, closing, timeout_us
from rnnserve.v1 import rnnserve_pb2 as pb
from rnnserve.v1 import rnnserve_pb2_grpc as rpc


class Session:
    """One session: a model's carry on the server, and the index of the next step.

    Every method raises BadInput for what is refused before it is sent, and ServerError.
    """

    def __init__(self, stub: rpc.RnnServeStub, progress: Progress, timeout_s: float | None) -> None:
        origin = progress.origin
        self.id = progress.id
        self.version = origin.version
        self.inputs = origin.inputs
        self.outputs = origin.outputs
        self.carry = origin.carry
        self.limits = origin.limits
        self._stub = stub
        self._progress = progress
        self._timeout_s = timeout_s
        self._left = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.leave()

    @property
    def index(self) -> int:
        """The index of the next step: how many the session has taken.

        While `generate` moves the session, and after a generation that failed or was left early,
        it is the one from before. The next operation asks the server first; so does `locate`.
        """
        return self._progress.index

    def step(self, *arrays: ArrayLike, timeout_s: float | None = None) -> Answer:
        """Takes a chunk of T >= 1 steps, one array an input, each (T, *shape). Where a shape has a
        -1, a chunk is one step, and each array has the shape itself, of any length there.

        Returns (T, *shape) of the output, or a dict of them by name when the model has several.
        A single step may leave T out; numbers and lists of Python are taken where nothing is lost.

        With `timeout_s` the server refuses (too_late) what it can't answer within that many seconds
        of the message's arrival; a step so refused has not happened. The call itself is bounded by
        the client's `timeout_s` alone: cut off from here, nobody would know whether it happened.

        After a ServerError the session stands where the chunk began, so that the same chunk may be
        sent again.
        """
        within_us = timeout_us(timeout_s)
        encoded = self._progress.encode(arrays)
        self._found(self._timeout_s)
        chunk = self._progress.begin(encoded, within_us)
        try:
            return self._progress.answer(chunk, self._checked(chunk.operation))
        except BaseException:
            self._progress.failed(chunk)
            raise

    def steps(self, chunks: Iterable[ArrayLike | tuple[ArrayLike, ...]]) -> Iterator[Answer]:
        """The answers to chunks in their order.

        A chunk is what `step` takes: an array, or a tuple of them when the model has several
        inputs. Raises as `step` does, at the chunk that failed.
        """
        for chunk in chunks:
            yield self.step(*chunk if isinstance(chunk, tuple) else (chunk,))

    def reset(
        self, *, carry: Carry | None = None, seed: int | None = None, scale: float | None = None
    ) -> None:
        """Begins the carry anew; the index goes on.

        From zeros, from `carry` (all of `self.carry` by name, without rows), or at random from
        `seed`, with standard deviation `scale` (1).
        """
        self._found(self._timeout_s)
        self._checked(self._progress.resetting(carry, seed, scale))

    def fork(self, count: int = 1) -> list["Session"]:
        """New sessions with this one's carry and index; all or none.

        Each lives a life of its own, outlives this one, and is yours to close:

            (fork,) = session.fork()
            with fork:
                fork.step(4)
        """
        self._found(self._timeout_s)
        forked = self._checked(self._progress.forking(count)).forked
        return [self._fork(session_id, forked.index) for session_id in forked.session_ids]

    def export(self) -> bytes:
        """The session as it is, for `client.restore`; it lives on."""
        self._found(self._timeout_s)
        return self._checked(self._progress.exporting()).exported.blob

    def generate(
        self, prompt: Prompt = "", *, fork: bool = False, **sampling: Unpack[Sampling]
    ) -> Generation:
        """Goes on from where the session stands, with a prompt or, after a step, without one.

        The session then stands after the last token sent. While it generates, whatever else is
        asked of it is refused (session_busy). A generation that is left early or fails has moved it
        too, by nobody knows how much: what is asked next finds out first.

        With `fork` the session stays as it is, and `generation.fork` is the session that was moved.
        """
        request = continue_request(self.id, prompt, fork, sampling)
        continued = Continued(
            partial(self._generates, fork),
            partial(self._generated, fork),
            partial(self._generation_left, fork),
        )
        return Generation(self._stub, request, continued)

    def locate(self) -> int:
        """Asks the server for the index of the next step; `index` is that from then on."""
        self._progress.lost = True
        self._found(self._timeout_s)
        return self.index

    def close(self) -> int:
        """Ends the session; returns how many steps it took."""
        return self._close(self._timeout_s)

    def leave(self) -> None:
        """Closes, whatever the server says: the session is over for us either way."""
        if not self._left:
            with suppress(ServerError):
                self._close(CLOSE_TIMEOUT_S)

    def _sent(self, operation: pb.Operation, timeout_s: float | None) -> pb.Event:
        try:
            return exchange(self._stub, operation, timeout_s)
        except ServerError as error:
            if not (broke_off(error) and may_go_twice(operation)):
                raise
            first = error
        # What has been done already is only answered again.
        try:
            return exchange(self._stub, operation, timeout_s)
        except ServerError as error:
            raise telling(first, error) from None

    def _checked(self, operation: pb.Operation) -> pb.Event:
        return event_of(outcome_of(self._sent(operation, self._timeout_s)))

    def _close(self, timeout_s: float | None) -> int:
        self._left = True
        self._found(timeout_s)
        event = exchange(self._stub, closing(self.id), timeout_s)
        return event_of(outcome_of(event)).closed.steps

    def _fork(self, session_id: str, index: int) -> "Session":
        return Session(self._stub, self._progress.forked(session_id, index), self._timeout_s)

    def _found(self, timeout_s: float | None) -> None:
        """Returns when the index is known."""
        if not self._progress.lost:
            return
        for pause_s in (*BUSY_PAUSES_S, None):
            busy = self._progress.told(outcome_of(self._sent(self._progress.asking(), timeout_s)))
            if busy is None:
                return
            if pause_s is None:
                raise busy
            time.sleep(pause_s)

    def _generates(self, fork: bool) -> None:
        self._found(self._timeout_s)
        if not fork:
            self._progress.generates()

    def _generated(self, fork: bool, end: End) -> "Session | None":
        if fork:
            return self._fork(end.session_id, end.index)
        self._progress.generated(end)
        return None

    def _generation_left(self, fork: bool, fork_id: str) -> None:
        if not fork:
            self._progress.generated(None)
        elif fork_id:
            # The server may have written the end, and then the fork is ours; where it hadn't, it
            # discards the fork itself and refuses this. A ValueError says that the client was
            # closed: the fork then ends by its idle timeout.
            with suppress(ServerError, ValueError):
                exchange(self._stub, closing(fork_id), CLOSE_TIMEOUT_S)


def exchange(stub: rpc.RnnServeStub, operation: pb.Operation, timeout_s: float | None) -> pb.Event:
    """The event that answers the operation, in a call of its own."""
    frame = pb.OperationFrame(operations=[operation])
    try:
        (event,) = stub.Exchange(frame, timeout=timeout_s).events
    except grpc.RpcError as error:
        raise from_rpc_error(error) from None
    return event
