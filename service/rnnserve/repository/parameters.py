"""What Triton's words don't reach: our own keys in the `parameters` of a `config.pbtxt`.

    time_axis           1: the axis behind the rows is time in every input and output, and a chunk
                        may be cut there; absent: a request is one indivisible run
    input.NAME.range    LOW:HIGH: values LOW <= x < HIGH that the graph can take of an integer input
    constant.NAME       JSON: the graph's input NAME is this on every run, and no client's business
    batch_axis.NAME     where the graph has the rows of an input, an output or a state (named by its
                        input), if not first
    once.NAME           true: a session sets this input with its first step and keeps it

Triton hands all of them to its backend, which looks at none. Other keys are left alone.
"""

import json
from dataclasses import dataclass, field

import numpy as np

from rnnserve.errors import ModelProblem
from rnnserve.repository.spec import ConstantSpec, ModelSpec
from rnnserve.triton import model_config_pb2 as triton

TIME_AXIS = "time_axis"
CONSTANT, BATCH_AXIS, ONCE = "constant.", "batch_axis.", "once."
INPUT, RANGE = "input.", ".range"


@dataclass(frozen=True)
class Words:
    """Our parameters of one configuration."""

    has_time: bool = False
    ranges: dict[str, tuple[int, int]] = field(default_factory=dict)
    constants: tuple[ConstantSpec, ...] = ()
    batch_axes: dict[str, int] = field(default_factory=dict)
    once: frozenset[str] = frozenset()
    others: tuple[str, ...] = ()
    """Keys that are not ours."""

    def batch_axis(self, name: str) -> int:
        return self.batch_axes.get(name, 0)

    def range_of(self, name: str, dtype: np.dtype) -> tuple[int, int] | tuple[None, None]:
        """The range of an input. Raises ModelProblem for one that its type doesn't have."""
        if name not in self.ranges:
            return None, None
        if dtype.kind not in "iu":
            raise ModelProblem(f"tensor {name!r}: a range needs an integer type, found {dtype}")
        low, high = self.ranges[name]
        bounds = np.iinfo(dtype)
        if not bounds.min <= low < high <= min(int(bounds.max), 2**63 - 2) + 1:
            raise ModelProblem(f"tensor {name!r}: {low}:{high} is no range of {dtype}")
        return low, high

    def check_names(self, spec: ModelSpec) -> None:
        """Raises ModelProblem where a parameter names no tensor of the model."""
        inputs = {tensor.name for tensor in spec.inputs}
        once = {entry.input_name for entry in spec.once}
        rows = inputs | {t.name for t in spec.outputs} | {c.input_name for c in spec.carry}
        for key, names, known in (
            (INPUT, set(self.ranges), inputs),
            (BATCH_AXIS, set(self.batch_axes), rows),
            (ONCE, set(self.once), once),
        ):
            if names - known:
                raise ModelProblem(
                    f"config.pbtxt: the parameters {key}... name {sorted(names - known)}, "
                    f"and there is no such tensor"
                )
        _check_once_each(spec)
        if not self.has_time:
            return
        if not spec.has_rows:
            raise ModelProblem("config.pbtxt: time_axis needs max_batch_size 1 or more")
        if spec.controls:
            raise ModelProblem("config.pbtxt: time_axis and control_input exclude each other")
        if spec.is_shaped:
            raise ModelProblem(
                "config.pbtxt: time_axis needs sequence_batching, and inputs, outputs and states "
                "of fixed shapes but for time"
            )


def _check_once_each(spec: ModelSpec) -> None:
    """Raises ModelProblem where an input of the graph would be fed from two sides."""
    names = [tensor.name for tensor in spec.inputs] + [c.input_name for c in spec.carry]
    names += [control.name for control in spec.controls]
    names += [constant.name for constant in spec.constants]
    outputs = [tensor.name for tensor in spec.outputs]
    for side in (names, outputs):
        if twice := sorted({name for name in side if side.count(name) > 1}):
            raise ModelProblem(f"config.pbtxt: {twice[0]!r} is declared more than once")


def read(config: triton.ModelConfig) -> Words:
    """Our parameters. Raises ModelProblem, which names the key."""
    ranges: dict[str, tuple[int, int]] = {}
    constants: list[ConstantSpec] = []
    axes: dict[str, int] = {}
    once: set[str] = set()
    others: list[str] = []
    has_time = False
    for key, value in sorted(config.parameters.items()):
        text = value.string_value
        if key == TIME_AXIS:
            has_time = _is(key, text, "1")
        elif key.startswith(INPUT) and key.endswith(RANGE):
            ranges[key[len(INPUT) : -len(RANGE)]] = _range(key, text)
        elif key.startswith(CONSTANT):
            constants.append(ConstantSpec(key[len(CONSTANT) :], _json(key, text)))
        elif key.startswith(BATCH_AXIS):
            axes[key[len(BATCH_AXIS) :]] = _axis(key, text)
        elif key.startswith(ONCE):
            if _is(key, text, "true"):
                once.add(key[len(ONCE) :])
        else:
            others.append(key)
    return Words(has_time, ranges, tuple(constants), axes, frozenset(once), tuple(others))


def write(config: triton.ModelConfig, spec: ModelSpec) -> None:
    """Say in `config` what Triton's words don't."""

    def say(key: str, text: str) -> None:
        config.parameters[key].string_value = text

    if spec.has_time:
        say(TIME_AXIS, "1")
    for tensor in spec.inputs:
        if tensor.low is not None:
            say(f"{INPUT}{tensor.name}{RANGE}", f"{tensor.low}:{tensor.high}")
    for constant in spec.constants:
        say(f"{CONSTANT}{constant.name}", constant.text)
    for tensor in (*spec.inputs, *spec.outputs):
        if tensor.batch_axis:
            say(f"{BATCH_AXIS}{tensor.name}", str(tensor.batch_axis))
    for entry in spec.carry:
        if entry.batch_axis:
            say(f"{BATCH_AXIS}{entry.input_name}", str(entry.batch_axis))
    for entry in spec.once:
        say(f"{ONCE}{entry.input_name}", "true")


def _is(key: str, text: str, wanted: str) -> bool:
    if text != wanted:
        raise ModelProblem(f"config.pbtxt: parameter {key!r} can only be {wanted}, found {text!r}")
    return True


def _range(key: str, text: str) -> tuple[int, int]:
    try:
        low, high = map(int, text.split(":"))
    except ValueError:
        raise ModelProblem(
            f"config.pbtxt: parameter {key!r} must read LOW:HIGH, found {text!r}"
        ) from None
    return low, high


def _json(key: str, text: str) -> str:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        raise ModelProblem(
            f"config.pbtxt: parameter {key!r} must be JSON (16000, or [1, 2]), found {text!r}"
        ) from None
    return text


def _axis(key: str, text: str) -> int:
    if not text.isdecimal() or len(text) > 2:
        raise ModelProblem(f"config.pbtxt: parameter {key!r} must be an axis, found {text!r}")
    return int(text)
