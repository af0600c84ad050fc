"""One inference request: understood, handed to the engine, and answered.

A sequence model's request is a step of a sequence; another's stands alone. Everything that can be
wrong with a request is found before anything is touched.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from rnnserve.engine import initial
from rnnserve.engine.chunk import Chunk, Listener
from rnnserve.engine.engine import Engine
from rnnserve.engine.marks import Correlation
from rnnserve.engine.model import Model
from rnnserve.engine.sequences import Name, Request, Sequences
from rnnserve.engine.slots import Rows
from rnnserve.errors import Reason, Refusal
from rnnserve.repository import strings
from rnnserve.repository.spec import CarrySpec, Mark, ModelSpec
from rnnserve.triton import grpc_service_pb2 as wire
from rnnserve.wire.inference.datatypes import name_of
from rnnserve.wire.inference.models import Models
from rnnserve.wire.inference.parameters import Parameters, read_parameters
from rnnserve.wire.inference.tensors import Given, read_inputs, wanted_outputs, write_outputs
from rnnserve.wire.inference.texts import Words
from rnnserve.wire.tracing import CallSpan

Told = Callable[[wire.ModelInferResponse | Exception], None]
"""Called once: with the reply, a Refusal in Triton's words, or the exception of a bug."""


class Requests:
    """Takes requests in. Remembers nothing of them."""

    def __init__(self, engine: Engine, sequences: Sequences, models: Models) -> None:
        self._engine = engine
        self._sequences = sequences
        self._models = models

    def take(
        self,
        request: wire.ModelInferRequest,
        told: Told,
        left_s: float = math.inf,
        span: CallSpan | None = None,
    ) -> None:
        """Start a request; `told` now or later. `left_s`: how long the reply is of use.

        Raises Refusal where it isn't taken; then nothing has changed and nobody is told.
        """
        words = Words(request.model_name, request.id)
        parameters = read_parameters(request)
        version = self._models.version(request.model_version)
        name = Name(request.model_name, version, parameters.correlation or 0)
        try:
            model = self._sequences.model(name, start=parameters.start)
        except Refusal as refusal:
            raise self._models.unknown(request.model_name, version, refusal) from None
        wanted = wanted_outputs(model.spec, request, words)
        goes_on = model.spec.is_sequential and not parameters.start
        given = read_inputs(model.spec, request, words, starts=not goes_on)
        called = Called(words, name, parameters, model.spec.is_sequential)
        request_id = request.id

        def answered(outcome: Chunk | Refusal) -> None:
            try:
                if isinstance(outcome, Refusal):
                    raise called.refusal(outcome)
                reply = _reply(request_id, model, outcome, wanted)
            except Exception as error:
                # A bug too: whoever waits has to be told.
                told(error)
            else:
                told(reply)

        listener: Listener = answered
        if span is not None:
            if span.skips:
                span.skips -= 1
            else:
                listener = span.step(answered, model, self._engine.now_s())
        timeout_s = min(parameters.timeout_s, left_s)
        if model.spec.is_sequential:
            carry = self._carry(called, model.spec, given)
            start, end = parameters.start, parameters.end
            step = Request(given.inputs, given.shapes, start, end, listener, timeout_s, carry)
            with called.translated():
                self._sequences.step(name, model, step)
            return
        assert given.shapes is not None
        visit = self._engine.visit
        with called.translated():
            visit(model, given.inputs, given.shapes, given.rows, listener, timeout_s)

    def _carry(self, called: "Called", spec: ModelSpec, given: Given) -> Rows | None:
        """What the sequence of a request begins with, if it starts and says so. Raises Refusal:
        no_sequence_id, wrong_sequence_id, set_once, sequence_not_started."""
        parameters = called.parameters
        if parameters.correlation is None:
            raise called.words.no_sequence()
        _check_id(spec, parameters.correlation, called.words)
        if given.once and parameters.start:
            return _beginning(spec, given.once)
        if given.once:
            self._check_once(called, given.once)
        return None

    def _check_once(self, called: "Called", once: dict[str, bytes]) -> None:
        """Refuse another value than the sequence began with."""
        with called.translated():
            entry = self._sequences.entry(called.name)
        carry = entry.model.slots.read(entry.session.lease)
        for spec, array in zip(entry.model.spec.carry, carry, strict=True):
            if spec.input_name in once and once[spec.input_name] != _memory(array):
                raise called.words.refusal(
                    Reason.SET_ONCE,
                    f"input '{spec.input_name}' is set by the first request of a sequence; "
                    "send the same again, or leave it out",
                    input=spec.input_name,
                )


@dataclass(frozen=True)
class Called:
    """How a request calls what it wants, for the sentences about it."""

    words: Words
    name: Name
    parameters: Parameters
    is_step: bool

    def refusal(self, refusal: Refusal) -> Refusal:
        """What the engine refused, in Triton's words."""
        correlation = self.parameters.correlation if self.is_step else None
        return self.words.of_engine(refusal, correlation, self.parameters.start)

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Refusals that are raised inside are raised in Triton's words."""
        try:
            yield
        except Refusal as refusal:
            raise self.refusal(refusal) from None


def _reply(
    request_id: str, model: Model, chunk: Chunk, wanted: Sequence[int]
) -> wire.ModelInferResponse:
    reply = wire.ModelInferResponse(
        model_name=model.spec.name, model_version=str(model.spec.version), id=request_id
    )
    write_outputs(model.spec, chunk, wanted, reply)
    return reply


def _beginning(spec: ModelSpec, once: dict[str, bytes]) -> Rows:
    """What a session begins with that sets these."""
    return tuple(
        _array(entry, once[entry.input_name]) if entry.input_name in once else array
        for entry, array in zip(spec.carry, initial.beginning(spec), strict=True)
    )


def _array(entry: CarrySpec, memory: bytes) -> np.ndarray:
    if entry.dtype.kind == "O":
        return strings.as_array(strings.unpack(memory), entry.shape)
    return np.frombuffer(memory, entry.dtype).reshape(entry.shape)


def _memory(array: np.ndarray) -> bytes:
    return strings.pack(array) if array.dtype.kind == "O" else array.tobytes()


def _check_id(spec: ModelSpec, correlation: Correlation, words: Words) -> None:
    """A graph that is told the sequence's number needs one that it can take."""
    for control in spec.controls:
        if control.mark is not Mark.CORRID:
            continue
        wants_text = control.dtype.kind == "O"
        if wants_text is not isinstance(correlation, str):
            got = "BYTES" if isinstance(correlation, str) else "UINT64"
            raise words.wrong_sequence_id(control.name, got, name_of(control.dtype))
