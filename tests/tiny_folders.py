"""Folders of a Triton repository as people write them: every way to say a thing. Each is a
`TinyModel`; where its folder isn't laid out as usual, a function says so.

    spelled()     sequence models whose y is the sum of all x so far, whatever their config.pbtxt
                  looks like
    controlled()  every representation of the marks that a graph is told
    versioned()   stateless: y = x + the version's number
    queued()      stateless: y = x after a while, and so many requests may wait
"""

from pathlib import Path

import numpy as np
from onnx import helper

from tiny_models import TinyModel, accumulator, entries, graph_of, marked

SUM = accumulator().graph
XY = entries(input={"x": "FP32"}, output={"y": "FP32"})
STATE = 'state [ { input_name: "h" output_name: "hn" data_type: TYPE_FP32 dims: [ 1 ] } ]'
BATCHED = f'backend: "onnxruntime" max_batch_size: 8 {XY}'


def spelled() -> list[TinyModel]:
    """All take x and give y, FP32 of the shape [1, 1], and begin with zero."""
    texts = {
        "by_colons": SPELLED_OUT,
        "nameless": f"{BATCHED} sequence_batching {{ {STATE} }}",
        "by_platform": f'platform: "onnxruntime_onnx" max_batch_size: 8 {XY} '
        f"sequence_batching {{ {STATE} }}",
        "by_neither": f"max_batch_size: 8 {XY} sequence_batching {{ {STATE} }}",
        "states_alone": f"max_batch_size: 8 sequence_batching {{ {STATE} }}",
        "directly": f"{BATCHED} sequence_batching {{ direct {{ max_queue_delay_microseconds: 500 "
        f"minimum_slot_utilization: 0.5 }} {STATE} }}",
        "oldest_first": f"{BATCHED} sequence_batching {{ oldest {{ max_candidate_sequences: 4 "
        "preferred_batch_size: [ 2, 4 ] max_queue_delay_microseconds: 500 "
        f"preserve_ordering: true }} {STATE} }}",
        "elsewhere": f"{BATCHED} sequence_batching {{ {STATE} }} instance_group [ {{ count: 2 "
        "kind: KIND_GPU gpus: [ 0 ] } ] optimization { graph { level: 1 } } "
        'parameters { key: "intra_op_thread_count" value { string_value: "2" } }',
        "memory_words": f"{BATCHED} sequence_batching {{ state {{ input_name: 'h' "
        "output_name: 'hn' data_type: TYPE_FP32 dims: 1 use_growable_memory: true "
        "use_same_buffer_for_input_output: true } }",
    }
    models = [TinyModel(name, text, SUM) for name, text in texts.items()]
    return [*models, elsewhere_named(), fed_back(), stacked(), tuned(), only_one(), encoder()]


SPELLED_OUT = """
# Written by hand, in every way that the text format has.
name: "by_colons";
backend: 'onnxruntime'
max_batch_size: 8  # rows
input: [
  {
    name: "x",
    data_type: TYPE_FP32,
    dims: 1
  }
]
output < name: "y" data_type: TYPE_FP32 dims: [ 1 ] >
sequence_batching: {
  max_sequence_idle_microseconds: 5000000
  oldest: { max_candidate_sequences: 1024 }
  control_input [ ]
  state: {
    input_name: "h"
    output_name: "hn"
    data_type: TYPE_FP32
    dims: [ 1 ]
    initial_state: { name: "zeros", data_type: TYPE_FP32, dims: [ 1 ], zero_data: true }
  }
}
"""


def elsewhere_named() -> TinyModel:
    """`default_model_filename`: what is named model.onnx is no graph."""
    config = f'default_model_filename: "sum.onnx" {BATCHED} sequence_batching {{ {STATE} }}'
    return TinyModel("elsewhere_named", config, b"no graph", {"1/sum.onnx": SUM})


def fed_back() -> TinyModel:
    """The output of the state is what clients get: one output of the graph, declared twice."""
    graph = graph_of(
        {"x": ("FP32", ["N", 1]), "h": ("FP32", ["N", 1])},
        {"y": ("FP32", ["N", 1])},
        [helper.make_node("Add", ["h", "x"], ["y"])],
    )
    state = STATE.replace('"hn"', '"y"')
    return TinyModel("fed_back", f"{BATCHED} sequence_batching {{ {state} }}", graph)


def stacked() -> TinyModel:
    """What Triton can't serve: two layers in front of the rows, dims by repetition."""
    graph = graph_of(
        {"x": ("FP32", ["N", 1]), "h": ("FP32", [2, "N", 1])},
        {"y": ("FP32", ["N", 1]), "hn": ("FP32", [2, "N", 1])},
        [
            helper.make_node("Add", ["h", "x"], ["hn"]),
            helper.make_node("Gather", ["hn", "last"], ["y"], axis=0),
        ],
        last=np.array(1),
    )
    config = f"""
        {BATCHED}
        parameters {{ key: "batch_axis.h" value {{ string_value: "1" }} }}
        sequence_batching {{
          state {{ input_name: "h" output_name: "hn" data_type: TYPE_FP32 dims: 2 dims: 1 }}
        }}
    """
    return TinyModel("stacked", config, graph)


def tuned() -> TinyModel:
    """An input without any axis that is always the same."""
    graph = graph_of(
        {"x": ("FP32", ["N", 1]), "h": ("FP32", ["N", 1]), "rate": ("INT64", [])},
        {"y": ("FP32", ["N", 1]), "hn": ("FP32", ["N", 1])},
        [
            helper.make_node("Cast", ["rate"], ["rate_fp32"], to=1),
            helper.make_node("Mul", ["x", "rate_fp32"], ["faster"]),
            helper.make_node("Div", ["faster", "sixteen"], ["as_before"]),
            helper.make_node("Add", ["h", "as_before"], ["hn"]),
            helper.make_node("Identity", ["hn"], ["y"]),
        ],
        sixteen=np.array(16000, np.float32),
    )
    rate = 'parameters { key: "constant.rate" value { string_value: "16000" } }'
    return TinyModel("tuned", f"{BATCHED} {rate} sequence_batching {{ {STATE} }}", graph)


def only_one() -> TinyModel:
    """A graph of one row and no other: `max_batch_size: 0`, and the row is in the dims."""
    graph = graph_of(
        {"x": ("FP32", [1, 1]), "h": ("FP32", [1, 1])},
        {"y": ("FP32", [1, 1]), "hn": ("FP32", [1, 1])},
        [
            helper.make_node("Add", ["h", "x"], ["hn"]),
            helper.make_node("Identity", ["hn"], ["y"]),
        ],
    )
    config = f"""
        backend: "onnxruntime"
        {entries("[ 1, 1 ]", input={"x": "FP32"}, output={"y": "FP32"})}
        sequence_batching {{ {STATE.replace("[ 1 ]", "[ 1, 1 ]")} }}
    """
    return TinyModel("only_one", config, graph)


def encoder() -> TinyModel:
    """As the encoders of speech recognisers are configured: two caches, one of FP16, and a length
    of INT64; the names sort the outputs another way than the inputs, and clients get none."""
    graph = graph_of(
        {
            "x": ("FP32", ["N", 1]),
            "attn_cache": ("FP32", ["N", 2]),
            "cnn_cache": ("FP16", ["N", 2, 3]),
            "processed_lens": ("INT64", ["N", 1]),
        },
        {
            "y": ("FP32", ["N", 1]),
            "lens_next": ("INT64", ["N", 1]),
            "next_attn_cache": ("FP32", ["N", 2]),
            "next_cnn_cache": ("FP16", ["N", 2, 3]),
        },
        [
            helper.make_node("Add", ["processed_lens", "one"], ["lens_next"]),
            helper.make_node("Add", ["attn_cache", "x"], ["next_attn_cache"]),
            helper.make_node("Cast", ["x"], ["x_fp16"], to=10),
            helper.make_node("Unsqueeze", ["x_fp16", "one"], ["x_plane"]),
            helper.make_node("Add", ["cnn_cache", "x_plane"], ["next_cnn_cache"]),
            helper.make_node("Gather", ["next_attn_cache", "one"], ["y"], axis=1),
        ],
        one=np.array([1]),
    )
    states = ",".join(
        f"""{{ input_name: "{given}" output_name: "{back}" data_type: TYPE_{of} dims: {dims}
              initial_state: {{
                name: "{given}_begin" data_type: TYPE_{of} dims: {dims} zero_data: true
              }} }}"""
        for given, back, of, dims in (
            ("processed_lens", "lens_next", "INT64", "[ 1 ]"),
            ("cnn_cache", "next_cnn_cache", "FP16", "[ 2, 3 ]"),
            ("attn_cache", "next_attn_cache", "FP32", "[ 2 ]"),
        )
    )
    config = f"""
        {BATCHED}
        sequence_batching {{
          max_sequence_idle_microseconds: 5000000
          oldest {{ max_candidate_sequences: 1024 max_queue_delay_microseconds: 5000 }}
          control_input [ ]
          state [ {states} ]
        }}
        instance_group [ {{ count: 1 kind: KIND_CPU }} ]
    """
    return TinyModel("encoder", config, graph)


def controlled() -> list[TinyModel]:
    """Every mark in every type that its control may have, each in `marked_` and the type of ids."""
    kinds = ("FP32", "INT32", "BOOL")
    return [
        marked(
            corrid,
            name=f"marked_{corrid.lower()}",
            start=kinds[place % 3],
            end=kinds[(place + 1) % 3],
            ready=kinds[(place + 2) % 3],
        )
        for place, corrid in enumerate(("UINT64", "INT64", "UINT32", "INT32", "BYTES"))
    ]


def versioned(repository: Path, name: str, policy: str, versions: tuple[int, ...]) -> None:
    """Write it; `policy` is its version_policy, or empty."""
    for version in versions:
        graph = graph_of(
            {"x": ("FP32", ["N", 1])},
            {"y": ("FP32", ["N", 1])},
            [helper.make_node("Add", ["x", "number"], ["y"])],
            number=np.array(version, np.float32),
        )
        config = f"{policy} {BATCHED} dynamic_batching {{ }}"
        TinyModel(name, config, graph).write(repository, version)


def queued(most: int, name: str = "queued") -> TinyModel:
    """Each run takes some 20 ms or more, so that others come meanwhile."""
    graph = graph_of(
        {"x": ("FP32", ["N", 1])},
        {"y": ("FP32", ["N", 1])},
        [
            helper.make_node("ReduceMax", ["x"], ["largest"], keepdims=0),
            helper.make_node("Expand", ["largest", "large"], ["m0"]),
            *(helper.make_node("MatMul", [f"m{n}", "zeros"], [f"m{n + 1}"]) for n in range(8)),
            helper.make_node("ReduceSum", ["m8"], ["nothing"], keepdims=0),
            helper.make_node("Add", ["x", "nothing"], ["y"]),
        ],
        large=np.array([512, 512]),
        zeros=np.zeros((512, 512), np.float32),
    )
    policy = f"default_queue_policy {{ max_queue_size: {most} }}"
    return TinyModel(name, f"{BATCHED} dynamic_batching {{ {policy} }}", graph)
