"""Faults put into a graph that still loads and runs."""

import numpy as np
import onnx
from onnx import numpy_helper


def change_weight(graph: bytes, name: str, change) -> bytes:
    """The graph with one of its constants replaced by `change(constant)`."""
    model = onnx.load_model_from_string(graph)
    constant = next(one for one in model.graph.initializer if one.name == name)
    array = numpy_helper.to_array(constant)
    changed = np.ascontiguousarray(change(array), array.dtype)
    assert changed.shape == array.shape
    assert not np.array_equal(changed, array)
    constant.CopyFrom(numpy_helper.from_array(changed, name))
    return bytes(model.SerializeToString())


def swap_two_gates(packed: np.ndarray) -> np.ndarray:
    """(1, gates * H, width) with the first two gates exchanged."""
    H = packed.shape[2]
    return np.concatenate([packed[:, H : 2 * H], packed[:, :H], packed[:, 2 * H :]], axis=1)


def transpose(matrix: np.ndarray) -> np.ndarray:
    return matrix.T


def exchange_biases(both: np.ndarray) -> np.ndarray:
    """(1, 2 * gates * H) with the input's and the carry's biases exchanged."""
    return np.concatenate(np.split(both, 2, axis=1)[::-1], axis=1)


def exchange_outputs(graph: bytes, one: str, other: str) -> bytes:
    """The graph with two of its outputs under each other's names."""
    model = onnx.load_model_from_string(graph)
    names = {one: other, other: one}
    for node in model.graph.node:
        node.output[:] = [names.get(name, name) for name in node.output]
        node.input[:] = [names.get(name, name) for name in node.input]
    return bytes(model.SerializeToString())
