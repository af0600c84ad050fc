"""The protocol over an engine that is ticked by hand."""

from collections.abc import Sequence

import numpy as np

from plain_models import PlainModel
from rnnserve.engine.model import Model
from rnnserve.engine.sequences import Sequences
from rnnserve.errors import Refusal
from rnnserve.repository import strings
from rnnserve.repository.config import format_config, read_message
from rnnserve.triton import grpc_service_pb2 as wire
from rnnserve.triton import model_config_pb2 as triton
from rnnserve.wire.inference.datatypes import name_of
from rnnserve.wire.inference.models import Models
from rnnserve.wire.inference.repository import Indexed, State
from rnnserve.wire.inference.requests import Requests
from small_models import SmallModel
from synchronous_engine import SynchronousEngine
from tiny_models import DTYPES


class FakeRepository:
    """What was found on a disk that isn't there."""

    def __init__(self, *more: Indexed) -> None:
        self.entries = list(more)

    def index(self) -> Sequence[Indexed]:
        return self.entries

    def config(self, model: Model) -> triton.ModelConfig:
        return read_message(format_config(model.spec), model.spec.name)

    async def load(self, name: str) -> None: ...

    async def unload(self, name: str) -> None: ...


class Calls:
    """Requests to one model, each answered when the engine has run."""

    def __init__(self, model: PlainModel | SmallModel, *found: Indexed, **limits) -> None:
        self.engine = SynchronousEngine(model, **limits)
        self.spec = self.engine.model.spec
        here = Indexed(self.spec.name, 1, State.READY, "")
        self.repository = FakeRepository(here, *found)
        self.sequences = Sequences(self.engine.engine)
        models = Models(self.engine.engine, self.repository)
        self.requests = Requests(self.engine.engine, self.sequences, models)

    def send(self, request: wire.ModelInferRequest) -> list:
        """Take it in; the list gets the reply or the refusal."""
        told: list = []
        try:
            self.requests.take(request, told.append)
        except Refusal as refusal:
            told.append(refusal)
        return told

    def ask(self, request: wire.ModelInferRequest) -> wire.ModelInferResponse | Refusal:
        told = self.send(request)
        self.engine.run_all()
        (outcome,) = told
        return outcome

    def refusal(self, request: wire.ModelInferRequest) -> tuple[str, str]:
        """The reason and the sentence of what must be refused."""
        outcome = self.ask(request)
        assert isinstance(outcome, Refusal), outcome
        assert self.engine.audit() == []
        return str(outcome.reason), outcome.message


def request(model: str, inputs: dict[str, np.ndarray], **fields) -> wire.ModelInferRequest:
    """A request with raw contents; `fields` beyond the message's own are parameters."""
    made = wire.ModelInferRequest(model_name=model)
    for name, array in inputs.items():
        made.inputs.add(name=name, datatype=name_of(array.dtype), shape=array.shape)
        made.raw_input_contents.append(array.tobytes())
    for key, value in fields.items():
        if key in wire.ModelInferRequest.DESCRIPTOR.fields_by_name:
            setattr(made, key, value)
        elif isinstance(value, bool):
            made.parameters[key].bool_param = value
        elif isinstance(value, int):
            made.parameters[key].int64_param = value
        elif isinstance(value, float):
            made.parameters[key].double_param = value
        else:
            made.parameters[key].string_param = value
    return made


def start(model: str, inputs: dict[str, np.ndarray], number=7, **fields) -> wire.ModelInferRequest:
    return request(model, inputs, sequence_id=number, sequence_start=True, **fields)


def goes_on(
    model: str, inputs: dict[str, np.ndarray], number=7, **fields
) -> wire.ModelInferRequest:
    return request(model, inputs, sequence_id=number, **fields)


def output(outcome: wire.ModelInferResponse | Refusal, place: int = 0) -> np.ndarray:
    """An output as an array."""
    assert isinstance(outcome, wire.ModelInferResponse), outcome
    dtypes = {"FP32": "<f4", "UINT64": "<u8", "INT64": "<i8", "BOOL": "?"}
    told = outcome.outputs[place]
    memory = outcome.raw_output_contents[place]
    return np.frombuffer(memory, dtypes[told.datatype]).reshape(tuple(told.shape))


def arrays(outcome: wire.ModelInferResponse | Refusal) -> dict[str, np.ndarray]:
    """The outputs of a reply, by name; each in the one place that clients look at."""
    assert isinstance(outcome, wire.ModelInferResponse), outcome
    pairs = zip(outcome.outputs, outcome.raw_output_contents, strict=True)
    return {told.name: array(told, memory) for told, memory in pairs}


def array(told: wire.ModelInferResponse.InferOutputTensor, memory: bytes) -> np.ndarray:
    if told.datatype == "BYTES":
        return strings.as_array(strings.unpack(memory), tuple(told.shape))
    return np.frombuffer(memory, DTYPES[told.datatype]).reshape(tuple(told.shape))


def one(value: float, of: str = "FP32") -> np.ndarray:
    """One value of one row."""
    return np.array([[value]], DTYPES[of])


def words(*elements: str) -> np.ndarray:
    return strings.as_array(list(elements), (1, len(elements)))


def add(asked: wire.ModelInferRequest, name: str, text: np.ndarray) -> None:
    """One more input, of text."""
    asked.inputs.add(name=name, datatype="BYTES", shape=text.shape)
    asked.raw_input_contents.append(strings.pack(text))
