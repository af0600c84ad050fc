"""What a user's own module takes, gives and carries: from its examples to a `ModelSpec`."""

import inspect
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from rnnserve.repository.dtypes import NUMBERS
from rnnserve.repository.spec import CarrySpec, ModelSpec, TensorSpec
from rnnserve_export.errors import UnservableModule
from rnnserve_export.feed import Feed, Range
from rnnserve_export.golden import TOLERANCE_KEY
from rnnserve_export.interface import IDLE_TIMEOUT_S, next_name, numpy_dtype
from rnnserve_export.parity import Arrays
from rnnserve_export.torch_model import Tensors, TorchModel

Examples = Tensor | Sequence[Tensor] | Mapping[str, Tensor]

TENSOR_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,127}")


@dataclass(frozen=True)
class Signature:
    """A module with its names, as the server and as the proof see it."""

    model: TorchModel
    spec: ModelSpec
    feed: Feed


def signature(
    model: TorchModel,
    example: Tensors,
    states: Mapping[str, Tensor],
    ranges: Mapping[str, Range | None],
    *,
    name: str,
    max_batch: int,
) -> Signature:
    """Call the module once with the example, and describe it.

    `example` are inputs (B, T, ...), or (B, ...) where `model` has no time; `states` those of one
    session. Raises UnservableModule: something is missing, or isn't as it has to be.
    """
    carry = tuple(_state(state, begins) for state, begins in states.items())
    inputs = tuple(_input(n, t, ranges, model.has_time) for n, t in example.items())
    _check_extents(example, model.has_time)
    given = _outputs(model, example, states)
    outputs = tuple(
        TensorSpec(n, _dtype(f"the output {n!r}", t), tuple(t.shape[1 + model.has_time :]))
        for n, t in given.items()
    )
    spec = ModelSpec(
        name=name,
        version=1,
        max_batch=max_batch,
        inputs=inputs,
        outputs=outputs,
        carry=carry,
        has_time=model.has_time,
        idle_timeout_s=IDLE_TIMEOUT_S,
    )
    _check_names(spec, ranges)
    known = {n: bounds for n, bounds in ranges.items() if bounds is not None}
    feed = Feed(spec, _as_arrays(example, model.has_time), known)
    return Signature(replace(model, outputs=tuple(given)), spec, feed)


def named_examples(forward: object, examples: Examples) -> Tensors:
    """The example inputs by the names that they have in `forward(carry, ...)`.

    Raises UnservableModule where forward doesn't name as many.
    """
    _, *parameters = inspect.signature(forward).parameters.values()
    named = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    if isinstance(examples, Mapping):
        takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
        if not takes_any and (strange := set(examples) - set(named)):
            raise UnservableModule(
                f"example_inputs has {sorted(strange)}, and forward takes {named} behind the carry"
            )
        return dict(examples)
    given = [examples] if isinstance(examples, Tensor) else list(examples)
    if len(named) < len(given):
        raise UnservableModule(
            f"{len(given)} example inputs, and forward names {named} behind the carry: name each "
            "in forward, or give example_inputs as a dict"
        )
    return dict(zip(named, given, strict=False))


def _state(name: str, begins: Tensor) -> CarrySpec:
    if not isinstance(begins, Tensor) or begins.numel() == 0:
        raise UnservableModule(
            f"states[{name!r}] must be a tensor with elements: what one session begins with, "
            "without an axis for rows"
        )
    if begins.count_nonzero():
        raise UnservableModule(
            f"states[{name!r}] isn't all zeros, and every session begins with zeros: let the "
            "module add what it begins with"
        )
    dtype = _dtype(f"the state {name!r}", begins)
    return CarrySpec(name, next_name(name), dtype, tuple(begins.shape))


def _input(
    name: str, example: Tensor, ranges: Mapping[str, Range | None], has_time: bool
) -> TensorSpec:
    if not isinstance(example, Tensor) or example.ndim < 1 + has_time or example.numel() == 0:
        raise UnservableModule(
            f"the example of {name!r} must be a tensor (N, {'T, ' * has_time}...) of at least one "
            "row" + " and one step" * has_time
        )
    dtype = _dtype(f"the input {name!r}", example)
    bounds = ranges.get(name)
    if dtype.kind in "iu" and name not in ranges:
        raise UnservableModule(
            f"the input {name!r} has whole numbers: say which it may have with "
            f"ranges={{{name!r}: (LOW, HIGH)}}, LOW <= x < HIGH, since one value that the graph "
            "can't take fails all rows of a batch; or None for any"
        )
    shape = tuple(example.shape[1 + has_time :])
    if bounds is None or dtype.kind not in "iu":
        return TensorSpec(name, dtype, shape)
    return TensorSpec(name, dtype, shape, *map(int, bounds))


def _dtype(what: str, tensor: Tensor) -> np.dtype:
    try:
        dtype = numpy_dtype(tensor.dtype)
    except TypeError:
        dtype = None
    if dtype is None or dtype not in NUMBERS:
        raise UnservableModule(f"{what} is {tensor.dtype}, which isn't served: make it float32")
    return dtype


def _check_extents(example: Tensors, has_time: bool) -> None:
    found = {name: tuple(tensor.shape[: 1 + has_time]) for name, tensor in example.items()}
    if not found:
        raise UnservableModule("a model needs an input: give example_inputs")
    if len(set(found.values())) > 1:
        raise UnservableModule(f"the examples have unlike numbers of rows or steps: {found}")


def _outputs(model: TorchModel, example: Tensors, states: Mapping[str, Tensor]) -> Tensors:
    rows = len(next(iter(example.values())))
    carry = {name: torch.stack([begins] * rows) for name, begins in states.items()}
    with torch.no_grad():
        try:
            _, outputs = model(carry, example)
        except UnservableModule:
            raise
        except Exception as error:  # whatever a user's module raises
            raise UnservableModule(
                f"forward fails on the example: {type(error).__name__}: {error}"
            ) from error
    for name, output in outputs.items():
        if output.ndim < 1 + model.has_time:
            raise UnservableModule(
                f"the output {name!r} is {list(output.shape)}: rows come first, and then "
                + ("time" if model.has_time else "what one step gives")
            )
    return outputs


def _check_names(spec: ModelSpec, ranges: Mapping[str, Range | None]) -> None:
    inputs = [tensor.name for tensor in spec.inputs]
    names = inputs + [tensor.name for tensor in spec.outputs]
    names += [name for entry in spec.carry for name in (entry.input_name, entry.output_name)]
    for name in names:
        if not TENSOR_NAME.fullmatch(name) or name == TOLERANCE_KEY:
            raise UnservableModule(f"{name!r} can't be the name of a tensor: choose another")
        if names.count(name) > 1:
            raise UnservableModule(
                f"{name!r} is the name of more than one tensor (a state NAME comes out as "
                f"{next_name('NAME')}): rename one"
            )
    if strange := set(ranges) - set(inputs):
        raise UnservableModule(f"ranges names {sorted(strange)}, and the inputs are {inputs}")


def _as_arrays(example: Tensors, has_time: bool) -> Arrays:
    arrays = {name: tensor.detach().cpu().numpy() for name, tensor in example.items()}
    return arrays if has_time else {name: array[:, None] for name, array in arrays.items()}
