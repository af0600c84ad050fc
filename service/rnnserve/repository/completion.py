"""What a `config.pbtxt` leaves out, filled in from the graph, as Triton does it for ONNX models.

A configuration may be missing altogether, or lack its inputs or its outputs. What it says stands.
Without any word on batches, a graph whose tensors all begin with a free axis takes four rows.
"""

from collections.abc import Iterable

from rnnserve.errors import ModelProblem
from rnnserve.repository.graph import Graph, Value
from rnnserve.repository.spec import FREE
from rnnserve.triton import model_config_pb2 as triton

DEFAULT_MAX_BATCH = 4


def complete(config: triton.ModelConfig, graph: Graph) -> None:
    """Fill in what is missing. Raises ModelProblem where the graph doesn't tell it."""
    inputs = _left(graph.inputs, _spoken_for(config))
    # States are given to clients only where the configuration says so.
    outputs = _left(graph.outputs, {state.output_name for state in config.sequence_batching.state})
    if not config.input and not config.output and config.max_batch_size == 0:
        states = config.sequence_batching.state
        if all(map(_begins_free, (*inputs, *outputs))) and not states:
            config.max_batch_size = DEFAULT_MAX_BATCH
    if not config.input:
        for value in inputs:
            config.input.add(
                name=value.name, data_type=_type(value), dims=_dims(value, config.max_batch_size)
            )
    if not config.output:
        for value in outputs:
            config.output.add(
                name=value.name, data_type=_type(value), dims=_dims(value, config.max_batch_size)
            )


def _spoken_for(config: triton.ModelConfig) -> set[str]:
    """The graph's inputs that are a state, a control or a constant."""
    batching = config.sequence_batching
    names = {state.input_name for state in batching.state}
    names |= {control.name for control in batching.control_input}
    prefix = "constant."
    return names | {key[len(prefix) :] for key in config.parameters if key.startswith(prefix)}


def _left(values: Iterable[Value], spoken_for: set[str]) -> list[Value]:
    return [value for value in values if value.name not in spoken_for]


def _begins_free(value: Value) -> bool:
    return bool(value.dims) and value.dims is not None and value.dims[0] == FREE


def _type(value: Value) -> triton.DataType.ValueType:
    return triton.DataType.ValueType(value.data_type)


def _dims(value: Value, max_batch_size: int) -> list[int]:
    if value.dims is None:
        raise ModelProblem(
            f"config.pbtxt says nothing of {value.name!r}, and the graph nothing of its shape"
        )
    if max_batch_size == 0:
        return list(value.dims)
    if not _begins_free(value):
        raise ModelProblem(
            f"max_batch_size is {max_batch_size}, and {value.name!r} has the shape "
            f"{list(value.dims)} in the graph: its first axis is not free"
        )
    return list(value.dims[1:])
