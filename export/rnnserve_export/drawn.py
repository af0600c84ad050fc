"""What comes from torch's exporter, made into a file that stands alone and says what is meant.

Weights that were cut, joined or transposed on their way become constants, which onnxruntime packs
ahead; shapes are those of the model's spec, not those that tracing wrote down; and nothing is left
of where and how the module was written.
"""

from collections.abc import Callable

import onnx
from onnx import checker, helper
from onnxscript import optimizer

from rnnserve.repository.graph import read_graph
from rnnserve.repository.spec import CarrySpec, ModelSpec, TensorSpec

LARGEST_FOLDED_BYTES = 1 << 28
"""Of a constant that takes the place of what computes it."""


def finished(model: onnx.ModelProto, spec: ModelSpec) -> bytes:
    """The file's bytes, the same for the same drawing.

    `model` has the inputs of `spec` (inputs, then states) and its outputs (outputs, then states) in
    that order, under names of its own.
    """
    model = optimizer.optimize(
        model, input_size_limit=LARGEST_FOLDED_BYTES, output_size_limit=LARGEST_FOLDED_BYTES
    )
    _forget_origin(model)
    _name(model.graph, spec)
    _say_shapes(model.graph, spec)
    model.producer_name = "rnnserve"
    # No version of the producer: equal modules must give equal files.
    model.producer_version = ""
    model.doc_string = _description(spec)
    checker.check_model(model, full_check=True)
    data = bytes(model.SerializeToString(deterministic=True))
    read_graph(data, "the graph")
    return data


def _name(graph: onnx.GraphProto, spec: ModelSpec) -> None:
    """Inputs and outputs under the names of `spec`; all others begin with a slash, as none of those
    does. What the module gives back untouched or twice gets a value of its own."""
    taken = [tensor.name for tensor in spec.inputs] + [e.input_name for e in spec.carry]
    given = [tensor.name for tensor in spec.outputs] + [e.output_name for e in spec.carry]
    names = dict(zip((value.name for value in graph.input), taken, strict=True))
    made = {name for node in graph.node for name in node.output}
    copies = []
    for value, name in zip(graph.output, given, strict=True):
        if value.name in made and value.name not in names:
            names[value.name] = name
        else:
            copies.append((value.name, name))
    _rename(graph, lambda name: names.get(name, f"/{name}") if name else "")
    for value, name in copies:
        source = names.get(value, f"/{value}")
        graph.node.append(helper.make_node("Identity", [source], [name], name=f"copy_{name}"))


def _rename(graph: onnx.GraphProto, renamed: Callable[[str], str]) -> None:
    """Every value in the graph and in those inside its nodes."""
    for inner in _graphs(graph):
        for value in [*inner.input, *inner.output, *inner.initializer]:
            value.name = renamed(value.name)
        for node in inner.node:
            node.input[:] = map(renamed, node.input)
            node.output[:] = map(renamed, node.output)


def _forget_origin(model: onnx.ModelProto) -> None:
    """Names of files, classes and lines of code."""
    del model.metadata_props[:]
    del model.graph.metadata_props[:]
    for graph in _graphs(model.graph):
        del graph.metadata_props[:]
        graph.doc_string = ""
        del graph.value_info[:]
        for node in graph.node:
            del node.metadata_props[:]
            node.doc_string = ""
        for value in [*graph.input, *graph.output, *graph.initializer]:
            del value.metadata_props[:]
            value.doc_string = ""


def _graphs(graph: onnx.GraphProto) -> list[onnx.GraphProto]:
    """The graph, and those inside its nodes."""
    found = [graph]
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                found += _graphs(attribute.g)
            for inner in attribute.graphs:
                found += _graphs(inner)
    return found


def _say_shapes(graph: onnx.GraphProto, spec: ModelSpec) -> None:
    """Inputs and outputs as the spec has them; N rows and T steps."""
    graph.name = "module"
    del graph.input[:]
    del graph.output[:]
    for tensor in spec.inputs:
        graph.input.append(_value(tensor.name, tensor, spec))
    for entry in spec.carry:
        graph.input.append(_value(entry.input_name, entry, spec))
    for tensor in spec.outputs:
        graph.output.append(_value(tensor.name, tensor, spec))
    for entry in spec.carry:
        graph.output.append(_value(entry.output_name, entry, spec))


def _value(name: str, entry: TensorSpec | CarrySpec, spec: ModelSpec) -> onnx.ValueInfoProto:
    in_time = spec.has_time and isinstance(entry, TensorSpec)
    shape = ["N", *["T"] * in_time, *entry.shape]
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(entry.dtype), shape)


def _description(spec: ModelSpec) -> str:
    states = ", ".join(entry.input_name for entry in spec.carry)
    return (
        f"{', '.join(t.name for t in spec.inputs)} to {', '.join(t.name for t in spec.outputs)}; "
        f"the carry goes in as {states} (zeros at the start) and comes out as "
        f"{', '.join(entry.output_name for entry in spec.carry)}."
    )
