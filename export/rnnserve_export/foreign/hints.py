"""What the person at the command line says of a file's tensors, held against the file."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from difflib import get_close_matches

from rnnserve_export.foreign.errors import BadHint
from rnnserve_export.foreign.evidence import possible
from rnnserve_export.foreign.file import ForeignFile, Tensor
from rnnserve_export.foreign.options import Overrules


@dataclass(frozen=True)
class Hints:
    """By the names of the tensors."""

    states: dict[str, str] = field(default_factory=dict)
    """Inputs to the outputs that are their next ones."""
    constants: dict[str, str] = field(default_factory=dict)
    """JSON."""
    once: frozenset[str] = frozenset()
    data: frozenset[str] = frozenset()
    batch_axes: dict[str, int] = field(default_factory=dict)
    dims: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """Lengths of the free axes that are no rows."""

    @property
    def roles(self) -> set[str]:
        """The inputs of which it is said what they are."""
        return {*self.states, *self.constants, *self.once, *self.data}


def read_hints(overrules: Overrules, file: ForeignFile) -> Hints:
    """Raises BadHint: an option that can't be read, names no tensor, or contradicts another."""
    inputs = {tensor.name: tensor for tensor in file.inputs}
    outputs = {tensor.name: tensor for tensor in file.outputs}
    states = _states(overrules.state, inputs, outputs)
    axes = (_split("--batch-axis", text, {**outputs, **inputs}) for text in overrules.batch_axis)
    found = Hints(
        states,
        dict(_constant(*_split("--constant", text, inputs)) for text in overrules.constant),
        frozenset(_known("--once", name, inputs) for name in overrules.once),
        frozenset(_known("--data", name, inputs) for name in overrules.data),
        dict(_axis(tensor, value) for tensor, value in axes),
        dict(_lengths(*_split("--dims", text, inputs)) for text in overrules.dims),
    )
    said = [*states, *found.constants, *found.once, *found.data]
    for name in said:
        if said.count(name) > 1:
            raise BadHint(
                f"{name!r} can only be one of --state, --constant, --once and --data, once"
            )
    return found


def _states(
    texts: Iterable[str], inputs: dict[str, Tensor], outputs: dict[str, Tensor]
) -> dict[str, str]:
    states: dict[str, str] = {}
    for text in texts:
        one, other = _pair(text, inputs, outputs)
        if not possible(inputs[one], outputs[other]):
            raise BadHint(
                f"--state {text}: {inputs[one]} of {inputs[one].type_name} and {outputs[other]} of "
                f"{outputs[other].type_name} can't be one state: type and shape must agree"
            )
        if one in states or other in states.values():
            raise BadHint(f"--state {text}: an input has one next output, and it is nobody else's")
        states[one] = other
    return states


def _pair(text: str, inputs: dict[str, Tensor], outputs: dict[str, Tensor]) -> tuple[str, str]:
    """Names may have colons too (`input:0`): the cut is where both sides are names."""
    cuts = [(text[:at], text[at + 1 :]) for at, sign in enumerate(text) if sign == ":"]
    if not cuts:
        raise BadHint(f"--state {text!r} must read IN:OUT, such as h:h_out")
    for one, other in cuts:
        if one in inputs and other in outputs:
            return one, other
    one, other = cuts[0]
    _known("--state", one, inputs)
    return one, _known("--state", other, outputs, "output")


def _split(option: str, text: str, known: dict[str, Tensor]) -> tuple[Tensor, str]:
    cuts = [(text[:at], text[at + 1 :]) for at, sign in enumerate(text) if sign == "="]
    if not cuts:
        raise BadHint(f"{option} {text!r} must read NAME=VALUE")
    for name, value in cuts:
        if name in known:
            return known[name], value
    name, value = cuts[0]
    return known[_known(option, name, known)], value


def _known(option: str, name: str, known: Iterable[str], side: str = "input") -> str:
    known = list(known)
    if name not in known:
        near = get_close_matches(name, known, n=1)
        raise BadHint(
            f"{option}: the graph has no {side} {name!r}"
            + (f", but {near[0]!r}" if near else f"; it has {', '.join(known)}")
        )
    return name


def _constant(tensor: Tensor, value: str) -> tuple[str, str]:
    try:
        found = json.loads(value)
    except ValueError:
        # Text without quotes is what a person types for a graph that wants text.
        if tensor.type_name != "STRING":
            raise BadHint(
                f"--constant {tensor.name}={value}: must be a number, or a list such as [1, 2]"
            ) from None
        found = value
    return tensor.name, json.dumps(found)


def _axis(tensor: Tensor, value: str) -> tuple[str, int]:
    axes = range(len(tensor.dims or ())) if tensor.dims is not None else range(16)
    if not value.isdecimal() or int(value) not in axes:
        raise BadHint(f"--batch-axis {tensor.name}={value}: {tensor} has no such axis")
    axis = int(value)
    if tensor.dims is not None and axis not in tensor.free_axes:
        raise BadHint(
            f"--batch-axis {tensor.name}={value}: axis {axis} of {tensor} is fixed, and rows need "
            "a free one"
        )
    return tensor.name, axis


def _lengths(tensor: Tensor, value: str) -> tuple[str, tuple[int, ...]]:
    try:
        found = json.loads(value)
    except ValueError:
        found = None
    lengths = found if isinstance(found, list) else [found]
    if not all(type(length) is int and length > 0 for length in lengths):
        raise BadHint(f"--dims {tensor.name}={value}: must be a length, or a list such as [1, 80]")
    return tensor.name, tuple(lengths)
