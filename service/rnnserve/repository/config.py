"""`config.pbtxt` to `ModelSpec` and back.

Triton's text format, read strictly: what isn't understood stops the model with the field's name.
Every tensor of the graph is batch-first, `[N, T, ...]` for inputs and outputs and `[N, ...]` for
the carry, so `dims` (which leaves N out) begins with -1 for time in the first two.

Beyond Triton's words, `parameters` may hold, for an integer input NAME,

    key: "input.NAME.range"  value: { string_value: "LOW:HIGH" }

the values LOW <= x < HIGH that the graph can take. They're checked before a row joins a batch.
"""

import numpy as np
from google.protobuf import text_format

from rnnserve.errors import ModelProblem
from rnnserve.repository.dtypes import dtype_number, numpy_dtype
from rnnserve.repository.spec import CarrySpec, ModelSpec, TensorSpec
from rnnserve.triton import model_config_pb2 as triton

BACKEND = "onnxruntime"
PLATFORM = "onnxruntime_onnx"


def parse_config(text: str, name: str, version: int) -> ModelSpec:
    """Read the text of a `config.pbtxt` that lies in the folder `name`.

    Raises ModelProblem: not the text format, an unknown field, or a value that can't be served.
    """
    config = triton.ModelConfig()
    try:
        text_format.Parse(text, config)
    except text_format.ParseError as error:
        raise ModelProblem(f"config.pbtxt: {error}") from None
    if config.name and config.name != name:
        raise ModelProblem(f"config.pbtxt: name is {config.name!r}, the folder is {name!r}")
    if config.backend not in ("", BACKEND) or config.platform not in ("", PLATFORM):
        raise ModelProblem(f"config.pbtxt: only the {BACKEND} backend is served")
    if config.max_batch_size < 1:
        raise ModelProblem("config.pbtxt: max_batch_size must be at least 1")
    if not config.input or not config.output:
        raise ModelProblem("config.pbtxt: a model needs an input and an output")
    ranges = _ranges(config)
    spec = ModelSpec(
        name=name,
        version=version,
        max_batch=config.max_batch_size,
        inputs=tuple(_tensor(entry, ranges.pop(entry.name, None)) for entry in config.input),
        outputs=tuple(_tensor(entry, None) for entry in config.output),
        carry=tuple(_carry(entry) for entry in config.sequence_batching.state),
    )
    if ranges:
        raise ModelProblem(f"config.pbtxt: parameters give a range for {sorted(ranges)}, no input")
    return spec


def format_config(spec: ModelSpec, idle_timeout_s: float = 60.0) -> str:
    """The `config.pbtxt` that `parse_config` reads as `spec`; Triton serves from it too."""
    config = triton.ModelConfig(name=spec.name, backend=BACKEND, max_batch_size=spec.max_batch)
    for tensor in spec.inputs:
        config.input.add(
            name=tensor.name,
            data_type=_number(tensor.dtype),
            dims=[-1, *tensor.shape],
        )
        if tensor.low is not None:
            key = f"input.{tensor.name}.range"
            config.parameters[key].string_value = f"{tensor.low}:{tensor.high}"
    for tensor in spec.outputs:
        config.output.add(
            name=tensor.name, data_type=_number(tensor.dtype), dims=[-1, *tensor.shape]
        )
    batching = config.sequence_batching
    batching.max_sequence_idle_microseconds = round(idle_timeout_s * 1e6)
    batching.oldest.max_candidate_sequences = 1024
    for entry in spec.carry:
        state = batching.state.add(
            input_name=entry.input_name,
            output_name=entry.output_name,
            data_type=_number(entry.dtype),
            dims=entry.shape,
        )
        # Without it Triton starts from uninitialised memory.
        state.initial_state.add(
            name=f"{entry.input_name}_zeros",
            data_type=state.data_type,
            dims=entry.shape,
            zero_data=True,
        )
    return text_format.MessageToString(config)


def _number(dtype: object) -> triton.DataType.ValueType:
    return triton.DataType.ValueType(dtype_number(dtype))  # type: ignore[arg-type]


def _tensor(
    entry: triton.ModelInput | triton.ModelOutput, limits: tuple[int, int] | None
) -> TensorSpec:
    dims = tuple(entry.dims)
    if not dims or dims[0] != -1 or any(dim < 1 for dim in dims[1:]):
        raise ModelProblem(
            f"tensor {entry.name!r}: dims must be -1 (time) and then a fixed shape for one step, "
            f"found {list(dims)}"
        )
    dtype = numpy_dtype(entry.data_type, entry.name)
    if limits is None:
        return TensorSpec(entry.name, dtype, dims[1:])
    if dtype.kind not in "iu":
        raise ModelProblem(f"tensor {entry.name!r}: a range needs an integer type, found {dtype}")
    low, high = limits
    bounds = np.iinfo(dtype)
    if not bounds.min <= low < high <= min(int(bounds.max), 2**63 - 2) + 1:
        raise ModelProblem(f"tensor {entry.name!r}: {low}:{high} is no range of {dtype}")
    return TensorSpec(entry.name, dtype, dims[1:], *limits)


def _carry(entry: triton.ModelSequenceBatching.State) -> CarrySpec:
    if any(dim < 1 for dim in entry.dims):
        raise ModelProblem(
            f"state {entry.input_name!r}: dims must be fixed, found {list(entry.dims)}"
        )
    for initial in entry.initial_state:
        if initial.WhichOneof("state_data") != "zero_data":
            raise ModelProblem(f"state {entry.input_name!r}: initial_state must be zero_data")
    dtype = numpy_dtype(entry.data_type, entry.input_name)
    return CarrySpec(entry.input_name, entry.output_name, dtype, tuple(entry.dims))


def _ranges(config: triton.ModelConfig) -> dict[str, tuple[int, int]]:
    ranges = {}
    for key, value in config.parameters.items():
        match key.split("."):
            case ["input", name, "range"]:
                try:
                    low, high = map(int, value.string_value.split(":"))
                except ValueError:
                    raise ModelProblem(
                        f"config.pbtxt: parameter {key!r} must read LOW:HIGH, "
                        f"found {value.string_value!r}"
                    ) from None
                ranges[name] = (low, high)
    return ranges
