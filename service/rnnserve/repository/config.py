"""`config.pbtxt` to a `ModelSpec` and back.

Triton's text format and Triton's meaning. What can't be honoured stops the model with the field's
name (`limits.py`); what Triton has no word for stands in `parameters` (`parameters.py`).

Where `max_batch_size` is 1 or more, every tensor of the graph has an axis for rows that `dims`
leave out; where it is 0, `dims` are whole shapes and the graph runs one row at a time. Where the
parameter `time_axis` is 1, `dims` of inputs and outputs begin with -1 for time.
"""

from dataclasses import dataclass, replace

from google.protobuf import text_format

from rnnserve.errors import ModelProblem
from rnnserve.repository import parameters
from rnnserve.repository.batching import (
    ReadInitial,
    carry_of,
    controls_of,
    queue_of,
    write_carry,
    write_controls,
)
from rnnserve.repository.dtypes import dtype_number, numpy_dtype
from rnnserve.repository.limits import BACKEND, notes_on, refuse_unserved
from rnnserve.repository.spec import FREE, CarrySpec, ModelSpec, Shape, TensorSpec
from rnnserve.triton import model_config_pb2 as triton


@dataclass(frozen=True)
class Config:
    """A `config.pbtxt`, read whole."""

    spec: ModelSpec
    """With version 0: all versions share it."""
    message: triton.ModelConfig
    """As it stands in the file, with the name filled in."""
    notes: tuple[str, ...]
    """What was read and changes no answer here, in words."""


def parse_config(text: str, name: str, version: int) -> ModelSpec:
    """The spec of one version; without initial states in files."""
    return replace(read_config(text, name, _no_file).spec, version=version)


def read_config(text: str, name: str, read_initial: ReadInitial) -> Config:
    """Read and understand the text of a whole `config.pbtxt` that lies in the folder `name`.

    Raises ModelProblem: not the text format, an unknown field, or a value that can't be served.
    """
    return understand(read_message(text, name), read_initial)


def read_message(text: str, name: str) -> triton.ModelConfig:
    """The text of a `config.pbtxt` as a message. Raises ModelProblem: not the text format, an
    unknown field, or the name of another folder."""
    config = triton.ModelConfig()
    try:
        text_format.Parse(text, config)
    except text_format.ParseError as error:
        raise ModelProblem(f"config.pbtxt: {error}") from None
    if config.name and config.name != name:
        raise ModelProblem(f"config.pbtxt: name is {config.name!r}, the folder is {name!r}")
    config.name = name
    return config


def understand(config: triton.ModelConfig, read_initial: ReadInitial) -> Config:
    """What a whole configuration means. Raises ModelProblem where that can't be served."""
    refuse_unserved(config)
    if config.max_batch_size < 0:
        raise ModelProblem("config.pbtxt: max_batch_size must be 0 or more")
    if not config.input or not config.output:
        raise ModelProblem("config.pbtxt: a model needs an input and an output")
    words = parameters.read(config)
    spec = _spec(config, words, read_initial)
    words.check_names(spec)
    if not spec.inputs:
        raise ModelProblem("config.pbtxt: a model needs an input that comes with every step")
    if spec.carry and not spec.is_sequential:
        raise ModelProblem(
            "config.pbtxt: an input that a session sets once needs sequence_batching"
        )
    return Config(spec, config, notes_on(config, words))


def format_config(spec: ModelSpec) -> str:
    """The `config.pbtxt` that `parse_config` reads as `spec`; Triton serves from it too, unless its
    parameters say what Triton can't know."""
    config = triton.ModelConfig(
        name=spec.name, backend=BACKEND, max_batch_size=spec.max_batch if spec.has_rows else 0
    )
    time = [FREE] if spec.has_time else []
    for tensor in spec.inputs:
        entry = config.input.add(
            name=tensor.name, data_type=number_of(tensor), dims=[*time, *tensor.shape]
        )
        if tensor.graph_shape is not None:
            entry.reshape.shape.extend(tensor.graph_shape)
    for once in spec.once:
        config.input.add(name=once.input_name, data_type=number_of(once), dims=once.shape)
    for tensor in spec.outputs:
        given = config.output.add(
            name=tensor.name, data_type=number_of(tensor), dims=[*time, *tensor.shape]
        )
        if tensor.graph_shape is not None:
            given.reshape.shape.extend(tensor.graph_shape)
    if spec.is_sequential:
        if spec.idle_timeout_s is not None:
            idle_us = round(spec.idle_timeout_s * 1e6)
            config.sequence_batching.max_sequence_idle_microseconds = idle_us
        config.sequence_batching.oldest.max_candidate_sequences = 1024
        write_controls(config, spec)
        write_carry(config, spec)
    else:
        config.dynamic_batching.SetInParent()
    parameters.write(config, spec)
    return text_format.MessageToString(config)


def number_of(tensor: TensorSpec | CarrySpec) -> triton.DataType.ValueType:
    """The tensor's type as Triton's number."""
    return triton.DataType.ValueType(dtype_number(tensor.dtype))


def _spec(
    config: triton.ModelConfig, words: parameters.Words, read_initial: ReadInitial
) -> ModelSpec:
    batching = config.sequence_batching
    idle_us = batching.max_sequence_idle_microseconds
    once = [entry for entry in config.input if entry.name in words.once]
    return ModelSpec(
        name=config.name,
        version=0,
        max_batch=config.max_batch_size or 1,
        inputs=tuple(_input(e, words) for e in config.input if e.name not in words.once),
        outputs=tuple(_output(entry, words) for entry in config.output),
        carry=carry_of(config, words, read_initial) + tuple(_once(e, words) for e in once),
        has_time=words.has_time,
        has_rows=config.max_batch_size > 0,
        is_sequential=config.HasField("sequence_batching"),
        controls=controls_of(batching),
        constants=words.constants,
        idle_timeout_s=idle_us / 1e6 if idle_us else None,
        queue=queue_of(config),
    )


def _input(entry: triton.ModelInput, words: parameters.Words) -> TensorSpec:
    shape = _shape(entry, words)
    dtype = numpy_dtype(entry.data_type, entry.name)
    low, high = words.range_of(entry.name, dtype)
    return TensorSpec(
        entry.name, dtype, shape, low, high, _graph_shape(entry), words.batch_axis(entry.name)
    )


def _output(entry: triton.ModelOutput, words: parameters.Words) -> TensorSpec:
    dtype = numpy_dtype(entry.data_type, entry.name)
    return TensorSpec(
        entry.name,
        dtype,
        _shape(entry, words),
        graph_shape=_graph_shape(entry),
        batch_axis=words.batch_axis(entry.name),
    )


def _once(entry: triton.ModelInput, words: parameters.Words) -> CarrySpec:
    if any(dim < 1 for dim in entry.dims) or entry.HasField("reshape"):
        raise ModelProblem(
            f"tensor {entry.name!r}: an input that a session sets once needs fixed dims"
        )
    dtype = numpy_dtype(entry.data_type, entry.name)
    axis = words.batch_axis(entry.name)
    return CarrySpec(entry.name, "", dtype, tuple(entry.dims), batch_axis=axis)


def _shape(entry: triton.ModelInput | triton.ModelOutput, words: parameters.Words) -> Shape:
    """What one step has, without rows and time."""
    dims = tuple(entry.dims)
    if words.has_time:
        if not dims or dims[0] != FREE or any(dim < 1 for dim in dims[1:]):
            raise ModelProblem(
                f"tensor {entry.name!r}: with the parameter time_axis, dims must be -1 (time) and "
                f"then a fixed shape for one step, found {list(dims)}"
            )
        return dims[1:]
    if any(dim < 1 and dim != FREE for dim in dims):
        raise ModelProblem(
            f"tensor {entry.name!r}: dims must be positive or -1, found {list(dims)}"
        )
    return dims


def _graph_shape(entry: triton.ModelInput | triton.ModelOutput) -> Shape | None:
    """What the reshape says. Raises ModelProblem where it doesn't have as many elements."""
    if not entry.HasField("reshape"):
        return None
    dims, shape = tuple(entry.dims), tuple(entry.reshape.shape)
    if _elements(dims) != _elements(shape) or any(dim < 1 and dim != FREE for dim in shape):
        raise ModelProblem(
            f"tensor {entry.name!r}: reshape {list(shape)} has other elements than dims "
            f"{list(dims)}"
        )
    return shape


def _elements(dims: Shape) -> tuple[int, int]:
    """How many free dimensions, and the product of the others."""
    product = 1
    for dim in dims:
        product *= 1 if dim == FREE else dim
    return dims.count(FREE), product


def _no_file(name: str) -> bytes:
    raise ModelProblem(f"config.pbtxt: the initial state in {name!r} needs the model's folder")
