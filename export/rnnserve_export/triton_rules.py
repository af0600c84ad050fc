"""Whether Triton would load a model of a repository as it lies there, and mean the same by it.

Triton's rules for ONNX models with implicit state: every input of the graph is an input, a state or
a control; with `max_batch_size` of 1 and more every tensor begins with a free axis, which `dims`
leave out; `dims` are the graph's. A rule that is broken is a sentence which names the tensor and
what to change; what only rnnserve understands is such a sentence too.
"""

from collections.abc import Iterator
from pathlib import Path

from google.protobuf import text_format

from rnnserve.errors import ModelProblem
from rnnserve.repository.graph import Graph, Value, read_graph
from rnnserve.repository.parameters import BATCH_AXIS, CONSTANT, ONCE
from rnnserve.repository.spec import FREE, Shape, fits
from rnnserve.repository.tree import CONFIG, GRAPH, versions
from rnnserve.triton import model_config_pb2 as triton

State = triton.ModelSequenceBatching.State
CORRID = triton.ModelSequenceBatching.Control.CONTROL_SEQUENCE_CORRID


def triton_problems(repository: Path, name: str) -> list[str]:
    """What stands in Triton's way, for every version of the model; empty: nothing does."""
    config = triton.ModelConfig()
    try:
        text_format.Parse((repository / name / CONFIG).read_text(encoding="utf-8"), config)
    except (OSError, UnicodeDecodeError, text_format.ParseError) as error:
        return [f"{CONFIG} can't be read: {error}"]
    problems = list(_config_problems(config, name))
    there = versions(repository / name)
    if not there:
        problems.append("there is no version: a folder named 1, 2, ...")
    for version in there:
        path = repository / name / str(version) / (config.default_model_filename or GRAPH)
        try:
            graph = read_graph(path.read_bytes(), path.name)
        except (OSError, ModelProblem) as error:
            problems.append(f"version {version}: {error}")
            continue
        problems += [f"version {version}: {problem}" for problem in graph_problems(config, graph)]
    return problems


def graph_problems(config: triton.ModelConfig, graph: Graph) -> list[str]:
    """What Triton would not take, or take otherwise, of this graph with this configuration."""
    return [
        *_undeclared(config, graph),
        *_mismatches(config, graph),
        *_beginnings(config),
        *_pairs(config),
        *_our_own(config),
    ]


def _config_problems(config: triton.ModelConfig, name: str) -> Iterator[str]:
    if config.name not in ("", name):
        yield f"name is {config.name!r}, the folder {name!r}"
    if "onnxruntime" not in (config.backend, config.platform.removesuffix("_onnx")):
        yield "neither backend: onnxruntime nor platform: onnxruntime_onnx is given"
    if not config.input or not config.output:
        yield "a model needs an input and an output"
    if config.response_cache.enable and config.HasField("sequence_batching"):
        yield "response_cache and sequence_batching exclude each other"
    batching = config.sequence_batching
    rows = config.max_batch_size > 0
    if batching.HasField("oldest") and not rows and not batching.oldest.max_candidate_sequences:
        yield "sequence_batching.oldest needs max_candidate_sequences where nothing is batched"


def _undeclared(config: triton.ModelConfig, graph: Graph) -> Iterator[str]:
    """What one side has and the other hasn't."""
    batching = config.sequence_batching
    taken = [entry.name for entry in config.input]
    taken += [state.input_name for state in batching.state]
    taken += [control.name for control in batching.control_input]
    for twice in sorted({name for name in taken if taken.count(name) > 1}):
        yield f"{twice!r} is declared more than once"
    inputs = {value.name for value in graph.inputs}
    outputs = {value.name for value in graph.outputs}
    given = {entry.name for entry in config.output}
    given |= {state.output_name for state in batching.state}
    for name in sorted(inputs - set(taken)):
        yield f"the graph's input {name!r} is neither an input, a state nor a control"
    for name in sorted(set(taken) - inputs):
        yield f"{name!r} is declared, and the graph has no such input"
    for name in sorted(outputs - given):
        yield f"the graph's output {name!r} is neither an output nor a state"
    for name in sorted(given - outputs):
        yield f"{name!r} is declared, and the graph has no such output"


def _mismatches(config: triton.ModelConfig, graph: Graph) -> Iterator[str]:
    """Types and shapes."""
    inputs = {value.name: value for value in graph.inputs}
    outputs = {value.name: value for value in graph.outputs}
    rows = config.max_batch_size > 0
    for entry in config.input:
        yield from _mismatch(inputs.get(entry.name), entry.data_type, _dims(entry), rows)
    for given in config.output:
        yield from _mismatch(outputs.get(given.name), given.data_type, _dims(given), rows)
    for state in config.sequence_batching.state:
        for value in (inputs.get(state.input_name), outputs.get(state.output_name)):
            yield from _mismatch(value, state.data_type, tuple(state.dims), rows)
    for control in config.sequence_batching.control_input:
        yield from _control(inputs.get(control.name), control, rows)


def _mismatch(value: Value | None, data_type: int, dims: Shape, rows: bool) -> Iterator[str]:
    if value is None:
        return
    if value.data_type != data_type:
        found, said = (triton.DataType.Name(n) for n in (value.data_type, data_type))
        yield f"{value.name!r} is {found} in the graph, {said} in {CONFIG}"
    if value.dims is None:
        yield f"the graph says nothing of the shape of {value.name!r}"
        return
    wanted = (FREE, *dims) if rows else dims
    if rows and (not value.dims or value.dims[0] != FREE):
        yield f"{value.name!r} is {list(value.dims)} in the graph: its first axis must be free"
    elif len(wanted) != len(value.dims) or any(
        found not in (FREE, want) for found, want in zip(value.dims, wanted, strict=True)
    ):
        yield f"{value.name!r} is {list(value.dims)} in the graph, {list(wanted)} by {CONFIG}"


def _control(
    value: Value | None, control: triton.ModelSequenceBatching.ControlInput, rows: bool
) -> Iterator[str]:
    if value is None:
        return
    if value.dims is None or len(value.dims) not in ((1, 2) if rows else (1,)):
        yield f"the control {value.name!r} must be one value a row"
    for entry in control.control:
        if entry.kind == CORRID:
            said = entry.data_type
        elif entry.int32_false_true:
            said = triton.TYPE_INT32
        else:
            said = triton.TYPE_FP32 if entry.fp32_false_true else triton.TYPE_BOOL
        if value.data_type != said:
            yield f"the control {value.name!r} has another type in the graph than in {CONFIG}"


def _dims(entry: triton.ModelInput | triton.ModelOutput) -> Shape:
    """What the graph has to have, without rows."""
    return tuple(entry.reshape.shape if entry.HasField("reshape") else entry.dims)


def _beginnings(config: triton.ModelConfig) -> Iterator[str]:
    for state in config.sequence_batching.state:
        if not state.initial_state:
            yield (
                f"the state {state.input_name!r} has no initial_state: Triton begins with whatever "
                "is in memory"
            )
        for initial in state.initial_state:
            if not initial.name:
                yield f"the initial_state of {state.input_name!r} needs a name"
            if initial.data_type != state.data_type:
                yield f"the initial_state of {state.input_name!r} is of another type"
            if FREE in initial.dims or not fits(tuple(initial.dims), tuple(state.dims)):
                yield f"the initial_state of {state.input_name!r} has other dims"


def _pairs(config: triton.ModelConfig) -> Iterator[str]:
    """Triton 2.51 to 2.73 pairs inputs and outputs by their sorted names (server, issue 8586)."""
    states: list[State] = list(config.sequence_batching.state)
    by_input = sorted(states, key=lambda state: state.input_name)
    by_output = sorted(states, key=lambda state: state.output_name)
    for one, other in zip(by_input, by_output, strict=True):
        if one.input_name != other.input_name:
            yield (
                f"the states {one.input_name!r} and {other.input_name!r} sort otherwise by their "
                "outputs: Triton would swap them"
            )
            return


def _our_own(config: triton.ModelConfig) -> Iterator[str]:
    for key in sorted(config.parameters):
        if key.startswith((CONSTANT, BATCH_AXIS, ONCE)):
            yield f"the parameter {key!r} means nothing to Triton"
