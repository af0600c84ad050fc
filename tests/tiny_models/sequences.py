"""Tiny models with sequences: each takes x [1] a step and is called as its function."""

import numpy as np
from onnx import TensorProto, helper

from tiny_models.parts import DTYPES, Tensors, TinyModel, config_type, entries, graph_of

FIRST_FAILING = 100
"""The least x that `fragile` fails on."""


def accumulator(
    of: str = "FP32",
    *,
    name: str = "",
    begins: str = "",
    begins_with: float | None = None,
    strategy: str = "oldest { max_candidate_sequences: 64 }",
    idle_us: int = 60_000_000,
) -> TinyModel:
    """`begins`: the state's initial_state in config.pbtxt, if any; `begins_with`: a value in a
    `data_file`, instead."""
    name = name or f"sum_{of.lower()}"
    files = {}
    if begins_with is not None:
        files["initial_state/first"] = np.array([begins_with], DTYPES[of]).tobytes()
        begins = 'data_file: "first"'
    if begins:
        begins = (
            f'initial_state: {{ name: "begin" data_type: {config_type(of)} dims: [ 1 ] {begins} }}'
        )
    graph = graph_of(
        {"x": (of, ["N", 1]), "h": (of, ["N", 1])},
        {"y": (of, ["N", 1]), "hn": (of, ["N", 1])},
        [
            helper.make_node("Or" if of == "BOOL" else "Add", ["h", "x"], ["hn"]),
            helper.make_node("Identity", ["hn"], ["y"]),
        ],
    )
    config = f"""
        name: "{name}"
        backend: "onnxruntime"
        max_batch_size: 8
        {entries(input={"x": of}, output={"y": of})}
        sequence_batching {{
          max_sequence_idle_microseconds: {idle_us}
          {strategy}
          state [ {{
            input_name: "h" output_name: "hn" data_type: {config_type(of)} dims: [ 1 ]
            {begins}
          }} ]
        }}
    """
    return TinyModel(name, config, graph, files)


def remembering() -> TinyModel:
    """The state begins as one zero: each -1 in its dims becomes 1."""
    graph = graph_of(
        {"x": ("FP32", ["N", "L"]), "kept": ("FP32", ["N", "K"])},
        {"y": ("FP32", ["N", 1]), "kept_next": ("FP32", ["N", "K_and_L"])},
        [
            helper.make_node("Concat", ["kept", "x"], ["kept_next"], axis=1),
            helper.make_node("ReduceSum", ["kept_next", "columns"], ["y"], keepdims=1),
        ],
        columns=np.array([1]),
    )
    config = """
        platform: "onnxruntime_onnx"
        max_batch_size: 8
        input [ { name: "x" data_type: TYPE_FP32 dims: [ -1 ] } ]
        output [ { name: "y" data_type: TYPE_FP32 dims: [ 1 ] } ]
        sequence_batching {
          oldest { max_candidate_sequences: 64 }
          state { input_name: "kept" output_name: "kept_next" data_type: TYPE_FP32 dims: [ -1 ] }
        }
    """
    return TinyModel("remembering", config, graph)


TELLS = {
    "FP32": "fp32_false_true: [ -1, 1 ]",
    "BOOL": "bool_false_true: [ false, true ]",
    "INT32": "int32_false_true: [ 0, 1 ]",
}
"""How a control says no and yes in each type that it may have."""


def marked(
    corrid: str = "UINT64",
    *,
    name: str = "marked",
    start: str = "FP32",
    end: str = "BOOL",
    ready: str = "INT32",
) -> TinyModel:
    """Each control in another representation, and the sum is the graph's own to begin anew."""
    types = {"start": start, "end": end, "ready": ready, "id": corrid}
    controls: Tensors = {name: (of, ["N", 1]) for name, of in types.items()}
    echoes = {f"{name}_was": value for name, value in controls.items()}
    graph = graph_of(
        {"x": ("FP32", ["N", 1]), "h": ("FP32", ["N", 1]), **controls},
        {"y": ("FP32", ["N", 1]), "hn": ("FP32", ["N", 1]), **echoes},
        [
            helper.make_node("Cast", ["start"], ["start_fp32"], to=TensorProto.FLOAT),
            helper.make_node("Greater", ["start_fp32", "zero"], ["begins"]),
            helper.make_node("Where", ["begins", "zero", "h"], ["before"]),
            helper.make_node("Add", ["before", "x"], ["hn"]),
            helper.make_node("Identity", ["hn"], ["y"]),
            *(helper.make_node("Identity", [name], [f"{name}_was"]) for name in controls),
        ],
        zero=np.array(0, np.float32),
    )
    outputs = {"y": "FP32"} | {name: of for name, (of, _) in echoes.items()}
    config = f"""
        backend: "onnxruntime"
        max_batch_size: 8
        {entries(input={"x": "FP32"}, output=outputs)}
        sequence_batching {{
          direct {{ }}
          control_input [
            {{ name: "start" control [ {{ kind: CONTROL_SEQUENCE_START {TELLS[start]} }} ] }},
            {{ name: "end" control [ {{ kind: CONTROL_SEQUENCE_END {TELLS[end]} }} ] }},
            {{ name: "ready" control [ {{ kind: CONTROL_SEQUENCE_READY {TELLS[ready]} }} ] }},
            {{ name: "id" control [
              {{ kind: CONTROL_SEQUENCE_CORRID data_type: {config_type(corrid)} }} ] }}
          ]
          state [ {{ input_name: "h" output_name: "hn" data_type: TYPE_FP32 dims: [ 1 ] }} ]
        }}
    """
    return TinyModel(name, config, graph)


def counting() -> TinyModel:
    """The pair of names that Triton swaps: of equal shape and type, so that nothing would show but
    the answers."""
    graph = graph_of(
        {name: ("INT64", ["N", 1]) for name in ("x", "cache_last", "cache_last_len")},
        {
            name: ("INT64", ["N", 1])
            for name in ("y", "n", "cache_last_next", "cache_last_len_next")
        },
        [
            helper.make_node("Add", ["cache_last", "x"], ["cache_last_next"]),
            helper.make_node("Add", ["cache_last_len", "one"], ["cache_last_len_next"]),
            helper.make_node("Identity", ["cache_last_next"], ["y"]),
            helper.make_node("Identity", ["cache_last_len_next"], ["n"]),
        ],
        one=np.array(1),
    )
    config = f"""
        backend: "onnxruntime"
        max_batch_size: 8
        {entries(input={"x": "INT64"}, output={"y": "INT64", "n": "INT64"})}
        sequence_batching {{
          oldest {{ max_candidate_sequences: 64 }}
          state [
            {{ input_name: "cache_last" output_name: "cache_last_next"
              data_type: TYPE_INT64 dims: 1 }},
            {{ input_name: "cache_last_len" output_name: "cache_last_len_next"
              data_type: TYPE_INT64 dims: 1 }}
          ]
        }}
    """
    return TinyModel("counting", config, graph)


def unbatched() -> TinyModel:
    """`dims` are whole shapes; the graph knows no rows."""
    graph = graph_of(
        {"x": ("FP32", [2]), "h": ("FP32", [2])},
        {"y": ("FP32", [2]), "hn": ("FP32", [2])},
        [
            helper.make_node("Add", ["h", "x"], ["hn"]),
            helper.make_node("Identity", ["hn"], ["y"]),
        ],
    )
    config = """
        backend: "onnxruntime"
        max_batch_size: 0
        input [ { name: "x" data_type: TYPE_FP32 dims: [ 2 ] } ]
        output [ { name: "y" data_type: TYPE_FP32 dims: [ 2 ] } ]
        sequence_batching {
          state [ { input_name: "h" output_name: "hn" data_type: TYPE_FP32 dims: [ 2 ] } ]
        }
    """
    return TinyModel("unbatched", config, graph)


def reshaped() -> TinyModel:
    """As the configurations of speech encoders have their lengths."""
    graph = graph_of(
        {"x": ("INT32", ["N"]), "h": ("INT32", ["N", 1])},
        {"y": ("INT32", ["N"]), "hn": ("INT32", ["N", 1])},
        [
            helper.make_node("Unsqueeze", ["x", "last"], ["column"]),
            helper.make_node("Add", ["h", "column"], ["hn"]),
            helper.make_node("Squeeze", ["hn", "last"], ["y"]),
        ],
        last=np.array([1]),
    )
    config = """
        backend: "onnxruntime"
        max_batch_size: 8
        input [ { name: "x" data_type: TYPE_INT32 dims: [ 1 ] reshape: { shape: [ ] } } ]
        output [ { name: "y" data_type: TYPE_INT32 dims: [ 1 ] reshape: { shape: [ ] } } ]
        sequence_batching {
          oldest { max_candidate_sequences: 64 }
          state [ { input_name: "h" output_name: "hn" data_type: TYPE_INT32 dims: [ 1 ] } ]
        }
    """
    return TinyModel("reshaped", config, graph)


def timed() -> TinyModel:
    """A chunk of T steps may be cut anywhere."""
    graph = graph_of(
        {"x": ("FP32", ["N", "T", 1]), "h": ("FP32", ["N", 1])},
        {"y": ("FP32", ["N", "T", 1]), "hn": ("FP32", ["N", 1])},
        [
            helper.make_node("CumSum", ["x", "time"], ["sums"]),
            helper.make_node("Unsqueeze", ["h", "time"], ["before"]),
            helper.make_node("Add", ["sums", "before"], ["y"]),
            helper.make_node("Gather", ["y", "last"], ["hn"], axis=1),
        ],
        time=np.array([1]),
        last=np.array(-1),
    )
    config = """
        backend: "onnxruntime"
        max_batch_size: 8
        parameters { key: "time_axis" value { string_value: "1" } }
        input [ { name: "x" data_type: TYPE_FP32 dims: [ -1, 1 ] } ]
        output [ { name: "y" data_type: TYPE_FP32 dims: [ -1, 1 ] } ]
        sequence_batching {
          oldest { max_candidate_sequences: 64 }
          state [ { input_name: "h" output_name: "hn" data_type: TYPE_FP32 dims: [ 1 ] } ]
        }
    """
    return TinyModel("timed", config, graph)


def scaled() -> TinyModel:
    """Triton would want the factor with every step, and so it is declared."""
    graph = graph_of(
        {name: ("FP32", ["N", 1]) for name in ("x", "h", "factor")},
        {name: ("FP32", ["N", 1]) for name in ("y", "hn")},
        [
            helper.make_node("Mul", ["x", "factor"], ["more"]),
            helper.make_node("Add", ["h", "more"], ["hn"]),
            helper.make_node("Identity", ["hn"], ["y"]),
        ],
    )
    config = f"""
        backend: "onnxruntime"
        max_batch_size: 8
        parameters {{ key: "once.factor" value {{ string_value: "true" }} }}
        {entries(input={"x": "FP32", "factor": "FP32"}, output={"y": "FP32"})}
        sequence_batching {{
          oldest {{ max_candidate_sequences: 64 }}
          state [ {{ input_name: "h" output_name: "hn" data_type: TYPE_FP32 dims: [ 1 ] }} ]
        }}
    """
    return TinyModel("scaled", config, graph)


def fragile() -> TinyModel:
    """x is looked up in a table of `FIRST_FAILING` entries, and onnxruntime fails a whole run for
    one index that is out of range."""
    graph = graph_of(
        {"x": ("INT64", ["N", 1]), "h": ("INT64", ["N", 1])},
        {"y": ("INT64", ["N", 1]), "hn": ("INT64", ["N", 1])},
        [
            helper.make_node("Gather", ["table", "x"], ["found"]),
            helper.make_node("Add", ["h", "found"], ["hn"]),
            helper.make_node("Identity", ["hn"], ["y"]),
        ],
        table=np.arange(FIRST_FAILING),
    )
    config = f"""
        backend: "onnxruntime"
        max_batch_size: 8
        {entries(input={"x": "INT64"}, output={"y": "INT64"})}
        sequence_batching {{
          oldest {{ max_candidate_sequences: 64 }}
          state [ {{ input_name: "h" output_name: "hn" data_type: TYPE_INT64 dims: [ 1 ] }} ]
        }}
    """
    return TinyModel("fragile", config, graph)


# Models whose requests stand alone.
