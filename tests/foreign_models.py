"""Models as others export them, with random weights, and what they compute in plain NumPy.

Three shapes are common outside:

    voice_activity()   input (N, 512), state (2, N, 128), sr ()  ->  output (N, 1), stateN
    denoiser()         input_2 (1, 1, 257), input_3 (1, 2, 128, 2)  ->  Identity, Identity_1
    layered()          x (N, T, 6), h_0 ... h_10 (N, 8) each  ->  y (N, T, 4), new_h_00 ... new_h_10

Their names and axes are those found in the wild; nothing of them is anybody's model.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, checker, helper, numpy_helper

from rnnserve_export.draft import Draft

Arrays = dict[str, np.ndarray]
OPSET = 17
SAMPLE_RATE = 16000
LAYERS = 11


@dataclass(frozen=True)
class ForeignModel:
    """A graph, and the same function in NumPy. Arrays by the graph's names and shapes."""

    graph: bytes
    step: Callable[[Arrays], Arrays]
    """One run: every input but constants to every output."""
    states: dict[str, str]
    """Inputs to the outputs that are their next ones."""
    begin: Arrays
    """The states before the first run, of one row."""


def value(name: str, dims: list[int | str], kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    """An input or an output; a dimension that is text is free."""
    return helper.make_tensor_value_info(name, kind, dims)


def file_of(
    draft: Draft, inputs: list[onnx.ValueInfoProto], outputs: list[onnx.ValueInfoProto]
) -> bytes:
    """The bytes of a checked ONNX file."""
    graph = helper.make_graph(draft.nodes, "graph", inputs, outputs, draft.initializers())
    opset = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=8, producer_name="elsewhere")
    checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))


def voice_activity(seed: int = 0) -> ForeignModel:
    """An LSTM whose h and c are stacked in front of the rows; the sample rate chooses a filter."""
    rng = np.random.default_rng(seed)
    H, F = 128, 32
    filters = {rate: _weights(rng, 512, F) for rate in (8000, SAMPLE_RATE)}
    W, R = _weights(rng, 1, 4 * H, F), _weights(rng, 1, 4 * H, H)
    readout = _weights(rng, H, 1)
    draft = Draft()
    rate = draft.constant("rate", np.array(SAMPLE_RATE, np.int64))
    draft.node("Equal", ["sr", rate], "is_fast")
    draft.node(
        "If",
        ["is_fast"],
        "filtered",
        then_branch=_filter(filters[SAMPLE_RATE]),
        else_branch=_filter(filters[8000]),
    )
    draft.node("Relu", ["filtered"], "features")  # (N, F)
    draft.unsqueeze("features", 0, "by_time")
    draft.multi_node("Split", ["state"], ["h", "c"], axis=0)  # (1, N, H) each
    cell = [draft.constant("W", W), draft.constant("R", R)]
    ends = ["", "h_end", "c_end"]
    draft.multi_node("LSTM", ["by_time", *cell, "", "", "h", "c"], ends, hidden_size=H, name="cell")
    draft.node("Concat", ["h_end", "c_end"], "stateN", axis=0)
    draft.squeeze("h_end", 0, "last")
    draft.node("MatMul", ["last", draft.constant("readout", readout)], "score")
    draft.node("Sigmoid", ["score"], "output")
    graph = file_of(
        draft,
        [value("input", ["N", 512]), value("state", [2, "N", H]), value("sr", [], _INT64)],
        [value("output", ["N", 1]), value("stateN", [2, "N", H])],
    )

    def step(given: Arrays) -> Arrays:
        x = np.maximum(given["input"] @ filters[SAMPLE_RATE], 0)
        h, c = _lstm(x, *given["state"], W[0], R[0])
        return {"output": _sigmoid(h @ readout), "stateN": np.stack([h, c])}

    begin = {"state": np.zeros((2, 1, H), np.float32)}
    return ForeignModel(graph, step, {"state": "stateN"}, begin)


def denoiser(seed: int = 0) -> ForeignModel:
    """Two LSTM layers for one stream; their h and c are the last axis of the state."""
    rng = np.random.default_rng(seed)
    H, F = 128, 257
    layers = [(_weights(rng, 1, 4 * H, n), _weights(rng, 1, 4 * H, H)) for n in (F, H)]
    readout = _weights(rng, H, F)
    draft = Draft()
    draft.multi_node("Split", ["input_3"], ["layer_0", "layer_1"], axis=1)  # (1, 1, H, 2) each
    x = "input_2"
    for place, weights in enumerate(layers):
        draft.multi_node("Split", [f"layer_{place}"], [f"h{place}_", f"c{place}_"], axis=3)
        begin = [draft.squeeze(f"{kind}{place}_", 3, f"{kind}{place}") for kind in "hc"]
        cell = [draft.constant(f"{k}{place}", w) for k, w in zip("WR", weights, strict=True)]
        ends = [f"y{place}", f"h{place}_end", f"c{place}_end"]
        draft.multi_node("LSTM", [x, *cell, "", "", *begin], ends, hidden_size=H)
        x = draft.squeeze(ends[0], 1, f"x{place + 1}")  # (1, 1, H)
        ends = [draft.unsqueeze(end, 3, f"{end}_") for end in ends[1:]]
        draft.node("Concat", ends, f"layer_{place}_end", axis=3)
    draft.node("Concat", ["layer_0_end", "layer_1_end"], "Identity_1", axis=1)
    draft.node("MatMul", [x, draft.constant("readout", readout)], "score")
    draft.node("Sigmoid", ["score"], "mask")
    draft.node("Mul", ["mask", "input_2"], "Identity")
    state: list[int | str] = [1, 2, H, 2]
    graph = file_of(
        draft,
        [value("input_2", [1, 1, F]), value("input_3", state)],
        [value("Identity", [1, 1, F]), value("Identity_1", state)],
    )

    def step(given: Arrays) -> Arrays:
        x, ends = given["input_2"][0], []
        for place, (W, R) in enumerate(layers):
            before = given["input_3"][:, place]  # (1, H, 2)
            h, c = _lstm(x, before[..., 0], before[..., 1], W[0], R[0])
            x = h
            ends.append(np.stack([h, c], axis=-1))
        mask = _sigmoid(x @ readout)[None]
        return {"Identity": mask * given["input_2"], "Identity_1": np.stack(ends, axis=1)}

    begin = {"input_3": np.zeros((1, 2, H, 2), np.float32)}
    return ForeignModel(graph, step, {"input_3": "Identity_1"}, begin)


def layered(seed: int = 0) -> ForeignModel:
    """Eleven GRU layers, a state each; sorted by name, inputs and outputs stand in other orders."""
    rng = np.random.default_rng(seed)
    H, F, O = 8, 6, 4  # noqa: E741
    weights = [
        (_weights(rng, 1, 3 * H, n), _weights(rng, 1, 3 * H, H), _weights(rng, 1, 6 * H))
        for n in [F, *[H] * (LAYERS - 1)]
    ]
    readout = _weights(rng, H, O)
    draft = Draft()
    x = draft.node("Transpose", ["x"], "x_by_time", perm=[1, 0, 2])  # (T, N, F)
    for place, parts in enumerate(weights):
        begin = draft.unsqueeze(f"h_{place}", 0, f"begin{place}")
        cell = [draft.constant(f"{k}{place}", w) for k, w in zip("WRB", parts, strict=True)]
        ends = [f"all{place}", f"end{place}"]
        draft.multi_node("GRU", [x, *cell, "", begin], ends, hidden_size=H, linear_before_reset=1)
        draft.squeeze(ends[1], 0, f"new_h_{place:02}")
        x = draft.squeeze(ends[0], 1, f"x{place}")  # (T, N, H)
    draft.node("Transpose", [x], "y_by_row", perm=[1, 0, 2])
    draft.node("MatMul", ["y_by_row", draft.constant("readout", readout)], "y")
    states = {f"h_{place}": f"new_h_{place:02}" for place in range(LAYERS)}
    graph = file_of(
        draft,
        [value("x", ["N", "T", F]), *(value(name, ["N", H]) for name in sorted(states))],
        [*(value(n, ["N", H]) for n in reversed(states.values())), value("y", ["N", "T", O])],
    )

    def step(given: Arrays) -> Arrays:
        now = [given[name] for name in states]
        y = []
        for below in given["x"].swapaxes(0, 1):  # (N, F)
            for place, parts in enumerate(weights):
                layer = below if place == 0 else now[place - 1]
                now[place] = _gru(layer, now[place], *(part[0] for part in parts))
            y.append(now[-1] @ readout)
        return {"y": np.stack(y, axis=1), **dict(zip(states.values(), now, strict=True))}

    begin = {name: np.zeros((1, H), np.float32) for name in states}
    return ForeignModel(graph, step, states, begin)


_INT64 = TensorProto.INT64


def _filter(weights: np.ndarray) -> onnx.GraphProto:
    """A branch of an If; it takes `input` from around it."""
    node = helper.make_node("MatMul", ["input", "filter"], ["filtered_here"])
    constant = numpy_helper.from_array(weights, "filter")
    return helper.make_graph(
        [node], "branch", [], [value("filtered_here", ["N", weights.shape[1]])], [constant]
    )


def _weights(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return (rng.standard_normal(shape) / np.sqrt(shape[-1])).astype(np.float32)


def _lstm(
    x: np.ndarray, h: np.ndarray, c: np.ndarray, W: np.ndarray, R: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """ONNX's LSTM, one step; gates i, o, f, c."""
    i, o, f, g = np.split(x @ W.T + h @ R.T, 4, axis=-1)
    c = _sigmoid(f) * c + _sigmoid(i) * np.tanh(g)
    return _sigmoid(o) * np.tanh(c), c


def _gru(x: np.ndarray, h: np.ndarray, W: np.ndarray, R: np.ndarray, B: np.ndarray) -> np.ndarray:
    """ONNX's GRU with linear_before_reset, one step; gates z, r, h."""
    Wb, Rb = np.split(B, 2)
    xz, xr, xh = np.split(x @ W.T + Wb, 3, axis=-1)
    hz, hr, hh = np.split(h @ R.T + Rb, 3, axis=-1)
    z = _sigmoid(xz + hz)
    n = np.tanh(xh + _sigmoid(xr + hr) * hh)
    return z * h + (1 - z) * n


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))
