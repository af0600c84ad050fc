"""A model whose steps take as long as they are told to."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from tiny_models import OPSET, TinyModel

MS = 1_000
"""Turns in a millisecond, about."""


def turns(number: int) -> bytes:
    """A step that takes so many."""
    return np.array([number], np.float32).tobytes()


def slow(*, name: str = "slow", turns_alone: int = 0) -> TinyModel:
    """y = the sum of all x so far, after x turns of a loop, and `turns_alone` besides: these come
    in the measuring when it is loaded, too. A turn takes about a microsecond, in C, without
    Python's lock."""
    turn = helper.make_graph(
        [
            helper.make_node("Identity", ["on"], ["on_next"]),
            helper.make_node("Add", ["spun", "spun"], ["spun_next"]),
        ],
        "turn",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("spun", TensorProto.FLOAT, [1]),
        ],
        [
            helper.make_tensor_value_info("on_next", TensorProto.BOOL, []),
            helper.make_tensor_value_info("spun_next", TensorProto.FLOAT, [1]),
        ],
    )
    nodes = [
        helper.make_node("Cast", ["x"], ["whole"], to=TensorProto.INT64),
        helper.make_node("ReduceSum", ["whole"], ["asked"], keepdims=0),
        helper.make_node("Add", ["asked", "alone"], ["turns"]),
        helper.make_node("Loop", ["turns", "yes", "nothing"], ["spun_last"], body=turn),
        helper.make_node("Add", ["h", "x"], ["sum"]),
        helper.make_node("Add", ["sum", "spun_last"], ["hn"]),
        helper.make_node("Identity", ["hn"], ["y"]),
    ]
    constants = {
        "alone": np.array(turns_alone, np.int64),
        "yes": np.array(True),
        "nothing": np.zeros(1, np.float32),
    }
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 1]) for name in ("x", "h")],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 1]) for name in ("y", "hn")],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    config = """
        backend: "onnxruntime"
        max_batch_size: 1
        input [ { name: "x" data_type: TYPE_FP32 dims: [ 1 ] } ]
        output [ { name: "y" data_type: TYPE_FP32 dims: [ 1 ] } ]
        sequence_batching {
          oldest { max_candidate_sequences: 64 }
          state [ { input_name: "h" output_name: "hn" data_type: TYPE_FP32 dims: [ 1 ] } ]
        }
    """
    return TinyModel(name, config, model.SerializeToString())
