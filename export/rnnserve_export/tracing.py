"""A torch module to an ONNX graph, through torch's own exporter.

Rows and time are free whatever the module is. What torch's exporter says when it can't is turned
into what there is to do; whether what it drew is right is for the proof to say.
"""

import io
import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import Dim

from rnnserve.repository.spec import CarrySpec, ModelSpec, TensorSpec
from rnnserve_export.drawn import finished
from rnnserve_export.errors import UnservableModule
from rnnserve_export.recurrent import OPERATORS, drawable
from rnnserve_export.torch_model import TorchModel

OPSET = 20
"""The first with Gelu; every onnxruntime since 1.17 takes it."""
ROWS, STEPS = 3, 5
"""Of the tensors that the module is drawn with. The exporter takes what is 0 or 1 for constant."""

_FIXED = re.compile(r"(?:size\(\)|shape)\[(\d)\]")
_PLACE = re.compile(r"File \"[^\"]*/([^/\"]+)\", line (\d+), in (\w+)\n\s+(\S[^\n]*)")


def trace(model: TorchModel, spec: ModelSpec) -> bytes:
    """The bytes of `model.onnx`, whose tensors are those of `spec`; the same for the same weights.

    Raises UnservableModule: the exporter can't follow the module, and why.
    """
    twin = model.twin(drawable)
    taken = [*spec.inputs, *spec.carry]
    free = [_free(entry, spec) for entry in taken]
    with _quiet(), torch.no_grad():
        try:
            program = torch.onnx.export(
                _Flat(twin, spec).eval(),
                tuple(_example(entry, spec) for entry in taken),
                dynamo=True,
                optimize=False,
                verbose=False,
                external_data=False,
                opset_version=OPSET,
                dynamic_shapes=(tuple(free),),
                custom_translation_table=OPERATORS,
            )
        except UnservableModule:
            raise
        except Exception as error:  # torch's own have no common base, and the module's are any
            raise UnservableModule(_why(error)) from error
    assert program is not None
    return finished(program.model_proto, spec)


class _Flat(nn.Module):
    """The module with its tensors in a row: inputs and states, to outputs and states."""

    def __init__(self, model: TorchModel, spec: ModelSpec) -> None:
        super().__init__()
        self.module = model.module
        self._model = model
        self._spec = spec

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        spec = self._spec
        inputs = dict(zip((t.name for t in spec.inputs), tensors, strict=False))
        states = tensors[len(spec.inputs) :]
        carry = dict(zip((entry.input_name for entry in spec.carry), states, strict=True))
        after, outputs = self._model(carry, inputs)
        given = [outputs[tensor.name] for tensor in spec.outputs]
        return (*given, *(after[entry.input_name] for entry in spec.carry))


def _free(entry: TensorSpec | CarrySpec, spec: ModelSpec) -> dict[int, object]:
    in_time = spec.has_time and isinstance(entry, TensorSpec)
    return dict.fromkeys(range(1 + in_time), Dim.DYNAMIC)


def _example(entry: TensorSpec | CarrySpec, spec: ModelSpec) -> Tensor:
    """Of the right shape and type; what is in it doesn't matter."""
    in_time = spec.has_time and isinstance(entry, TensorSpec)
    dtype = torch.from_numpy(_zero(entry)).dtype
    return torch.zeros(ROWS, *[STEPS] * in_time, *entry.shape, dtype=dtype)


def _zero(entry: TensorSpec | CarrySpec) -> np.ndarray:
    return np.zeros(1, entry.dtype)


@contextmanager
def _quiet() -> Iterator[None]:
    """torch warns of its own future, of what isn't installed, and prints graphs that it gave up."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        nowhere = io.StringIO()
        with warnings.catch_warnings(), redirect_stdout(nowhere), redirect_stderr(nowhere):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _why(error: BaseException) -> str:
    """What stands in the way, in words, and what to do."""
    cause = error.__cause__ or error
    text = str(cause)
    if type(cause).__name__ == "GuardOnDataDependentSymNode":
        return (
            f"forward decides by the values of a tensor{_where(text)}; a graph has no such branch: "
            "compute both and choose with torch.where"
        )
    if fixed := _FIXED.search(text):
        if fixed[1] == "0":
            return (
                "forward works for one number of rows only: take it from the inputs "
                "(x.shape[0]), never from a constant"
            )
        return (
            "forward works for one number of steps only. If it loops over them, hand the whole "
            "chunk to nn.LSTM, nn.GRU, nn.RNN or a convolution; or let forward take one step, "
            "without an axis for time, and export it with time=False"
        )
    return f"torch can't draw the module: {type(cause).__name__}: {_first_lines(text)}"


def _where(text: str) -> str:
    places = _PLACE.findall(text)
    return f" ({places[-1][0]}, line {places[-1][1]}: {places[-1][3]})" if places else ""


def _first_lines(text: str, most: int = 300) -> str:
    joined = " ".join(text.split())
    return joined if len(joined) <= most else joined[: most - 3] + "..."
