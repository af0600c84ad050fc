"""Triton's batching sections: states, their beginnings, control inputs, and how requests wait."""

from collections.abc import Callable
from math import prod

import numpy as np

from rnnserve.errors import ModelProblem
from rnnserve.repository import strings
from rnnserve.repository.dtypes import dtype_number, numpy_dtype
from rnnserve.repository.parameters import Words
from rnnserve.repository.spec import (
    FREE,
    CarrySpec,
    ControlSpec,
    Mark,
    ModelSpec,
    QueueSpec,
    Shape,
    fits,
)
from rnnserve.triton import model_config_pb2 as triton

State = triton.ModelSequenceBatching.State
InitialState = triton.ModelSequenceBatching.InitialState
Control = triton.ModelSequenceBatching.Control
ReadInitial = Callable[[str], bytes]
"""The contents of a file in the model's folder `initial_state`; raises ModelProblem."""

MARKS = {
    Control.CONTROL_SEQUENCE_START: Mark.START,
    Control.CONTROL_SEQUENCE_READY: Mark.READY,
    Control.CONTROL_SEQUENCE_END: Mark.END,
    Control.CONTROL_SEQUENCE_CORRID: Mark.CORRID,
}
KINDS = {mark: kind for kind, mark in MARKS.items()}
CORRID_TYPES = frozenset(
    {
        triton.TYPE_UINT64,
        triton.TYPE_INT64,
        triton.TYPE_UINT32,
        triton.TYPE_INT32,
        triton.TYPE_STRING,
    }
)


def carry_of(
    config: triton.ModelConfig, words: Words, read_initial: ReadInitial
) -> tuple[CarrySpec, ...]:
    """The states, paired as their entries pair them. Raises ModelProblem, which names the state."""
    states = config.sequence_batching.state
    for side in ("input_name", "output_name"):
        names = [getattr(state, side) for state in states]
        if len(set(names)) != len(names):
            raise ModelProblem(f"sequence_batching.state: two states share an {side}")
    return tuple(_carry(state, words, read_initial) for state in states)


def controls_of(batching: triton.ModelSequenceBatching) -> tuple[ControlSpec, ...]:
    """The control inputs. Raises ModelProblem, which names the input."""
    return tuple(
        _control(entry.name, control)
        for entry in batching.control_input
        for control in entry.control
    )


def queue_of(config: triton.ModelConfig) -> QueueSpec:
    """How requests without a session may wait."""
    policy = config.dynamic_batching.default_queue_policy
    return QueueSpec(policy.max_queue_size, policy.default_timeout_microseconds / 1e6)


def write_carry(config: triton.ModelConfig, spec: ModelSpec) -> None:
    """The states of `spec` that the graph gives back; those that begin with zeros."""
    for entry in spec.carry:
        if not entry.output_name:
            continue
        if entry.initial:
            raise ValueError(f"{entry.input_name} begins with values, which stand in a file")
        state = config.sequence_batching.state.add(
            input_name=entry.input_name,
            output_name=entry.output_name,
            data_type=triton.DataType.ValueType(dtype_number(entry.dtype)),
            dims=entry.shape,
        )
        # Without it Triton starts from uninitialised memory.
        state.initial_state.add(
            name=f"{entry.input_name}_zeros",
            data_type=state.data_type,
            dims=entry.begins_as,
            zero_data=True,
        )


def write_controls(config: triton.ModelConfig, spec: ModelSpec) -> None:
    """The control inputs of `spec`."""
    for entry in spec.controls:
        control = config.sequence_batching.control_input.add(name=entry.name).control.add(
            kind=KINDS[entry.mark]
        )
        if entry.mark is Mark.CORRID:
            control.data_type = triton.DataType.ValueType(dtype_number(entry.dtype))
        elif entry.dtype.kind == "b":
            control.bool_false_true.extend([bool(entry.no), bool(entry.yes)])
        elif entry.dtype.kind == "f":
            control.fp32_false_true.extend([entry.no, entry.yes])
        else:
            control.int32_false_true.extend([int(entry.no), int(entry.yes)])


def _carry(state: State, words: Words, read_initial: ReadInitial) -> CarrySpec:
    name, shape = state.input_name, tuple(state.dims)
    if not name or not state.output_name:
        raise ModelProblem("sequence_batching.state: input_name and output_name must be given")
    if any(dim < 1 and dim != FREE for dim in shape):
        raise ModelProblem(f"state {name!r}: dims must be positive or -1, found {list(shape)}")
    dtype = numpy_dtype(state.data_type, name)
    initial, begins = _initial(state, dtype, read_initial)
    return CarrySpec(name, state.output_name, dtype, shape, initial, begins, words.batch_axis(name))


def _initial(
    state: State, dtype: np.dtype, read_initial: ReadInitial
) -> tuple[bytes, Shape | None]:
    """What a session begins with, and its shape where that doesn't follow from the state's."""
    name = state.input_name
    if not state.initial_state:
        return b"", None
    if len(state.initial_state) > 1:
        raise ModelProblem(f"state {name!r}: more than one initial_state")
    (initial,) = state.initial_state
    shape, dims = tuple(initial.dims), tuple(state.dims)
    if not initial.name:
        raise ModelProblem(f"state {name!r}: initial_state.name must be given")
    if initial.data_type != state.data_type:
        raise ModelProblem(f"state {name!r}: initial_state.data_type is not the state's")
    if not fits(shape, dims) or any(dim < 1 for dim in shape):
        raise ModelProblem(
            f"state {name!r}: initial_state.dims {list(shape)} don't fit the state's {list(dims)}"
        )
    begins = shape if FREE in dims else None
    match initial.WhichOneof("state_data"):
        case "zero_data":
            return b"", begins
        case "data_file":
            return _values(name, read_initial(initial.data_file), dtype, shape), begins
        case _:
            raise ModelProblem(f"state {name!r}: initial_state needs zero_data or data_file")


def _values(name: str, data: bytes, dtype: np.dtype, shape: Shape) -> bytes:
    """The bytes of one state; what a file has beyond them is left out, as in Triton."""
    if dtype.kind == "O":
        try:
            elements = strings.unpack(data)[: prod(shape)]
        except ValueError as error:
            raise ModelProblem(f"state {name!r}: its data_file holds no text: {error}") from None
        if len(elements) < prod(shape):
            raise ModelProblem(f"state {name!r}: its data_file has {len(elements)} elements")
        return strings.pack(strings.as_array(elements, (len(elements),)))
    size = prod(shape) * dtype.itemsize
    if len(data) < size:
        raise ModelProblem(f"state {name!r}: its data_file has {len(data)} bytes, the state {size}")
    if dtype.kind == "b" and max(data[:size], default=0) > 1:
        raise ModelProblem(f"state {name!r}: a bool in its data_file is neither 0 nor 1")
    return data[:size]


def _control(name: str, control: Control) -> ControlSpec:
    mark = MARKS.get(control.kind)
    if mark is None:
        raise ModelProblem(f"control_input {name!r}: {control.kind} is no kind of control")
    if not name:
        raise ModelProblem("sequence_batching.control_input: name must be given")
    pairs: dict[str, tuple[float, ...]] = {
        "<i4": tuple(control.int32_false_true),
        "<f4": tuple(control.fp32_false_true),
        "?": tuple(control.bool_false_true),
    }
    given = {dtype: pair for dtype, pair in pairs.items() if pair}
    if mark is Mark.CORRID:
        if control.data_type not in CORRID_TYPES or given:
            raise ModelProblem(
                f"control_input {name!r}: CORRID needs a data_type of TYPE_UINT64, TYPE_INT64, "
                "TYPE_UINT32, TYPE_INT32 or TYPE_STRING, and no false_true"
            )
        return ControlSpec(name, mark, numpy_dtype(control.data_type, name))
    if len(given) != 1 or len(next(iter(given.values()))) != 2:
        raise ModelProblem(
            f"control_input {name!r}: needs one of int32_false_true, fp32_false_true and "
            "bool_false_true, with two values"
        )
    ((dtype, (no, yes)),) = given.items()
    return ControlSpec(name, mark, np.dtype(dtype), no, yes)
