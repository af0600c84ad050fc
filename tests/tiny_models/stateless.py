"""Tiny models whose requests stand alone."""

from collections.abc import Iterable

from onnx import helper

from tiny_models.parts import ONNX_TYPES, TinyModel, entries, graph_of


def adder() -> TinyModel:
    graph = graph_of(
        {name: ("FP32", ["N", 4]) for name in ("A", "B")},
        {name: ("FP32", ["N", 4]) for name in ("SUM", "DIFFERENCE")},
        [
            helper.make_node("Add", ["A", "B"], ["SUM"]),
            helper.make_node("Sub", ["A", "B"], ["DIFFERENCE"]),
        ],
    )
    config = """
        backend: "onnxruntime"
        max_batch_size: 8
        input [
          { name: "A" data_type: TYPE_FP32 dims: [ 4 ] },
          { name: "B" data_type: TYPE_FP32 dims: [ 4 ] }
        ]
        output [
          { name: "SUM" data_type: TYPE_FP32 dims: [ 4 ] },
          { name: "DIFFERENCE" data_type: TYPE_FP32 dims: [ 4 ] }
        ]
        dynamic_batching { }
    """
    return TinyModel("adder", config, graph)


def text() -> TinyModel:
    graph = graph_of(
        {"words": ("BYTES", ["N", "L"])},
        {"same": ("BYTES", ["N", "L"])},
        [helper.make_node("Identity", ["words"], ["same"])],
    )
    config = """
        backend: "onnxruntime"
        max_batch_size: 8
        input [ { name: "words" data_type: TYPE_STRING dims: [ -1 ] } ]
        output [ { name: "same" data_type: TYPE_STRING dims: [ -1 ] } ]
        dynamic_batching { }
    """
    return TinyModel("text", config, graph)


def table() -> TinyModel:
    graph = graph_of(
        {"x": ("FP32", ["N", "A", "B"])},
        {"same": ("FP32", ["N", "A", "B"])},
        [helper.make_node("Identity", ["x"], ["same"])],
    )
    config = """
        backend: "onnxruntime"
        max_batch_size: 8
        input [ { name: "x" data_type: TYPE_FP32 dims: [ -1, -1 ] } ]
        output [ { name: "same" data_type: TYPE_FP32 dims: [ -1, -1 ] } ]
    """
    return TinyModel("table", config, graph)


def everything(types: Iterable[str] = ONNX_TYPES) -> TinyModel:
    types = list(types)
    graph = graph_of(
        {f"in_{of}": (of, ["N", 3]) for of in types},
        {f"out_{of}": (of, ["N", 3]) for of in types},
        [helper.make_node("Identity", [f"in_{of}"], [f"out_{of}"]) for of in types],
    )
    inputs, outputs = ({f"{side}_{of}": of for of in types} for side in ("in", "out"))
    config = f"""
        backend: "onnxruntime"
        max_batch_size: 8
        {entries(dims="[ 3 ]", input=inputs, output=outputs)}
        dynamic_batching {{ }}
    """
    return TinyModel("everything", config, graph)
