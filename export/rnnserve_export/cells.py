"""The recurrent part of the graph, cell by cell: time-major x (T, N, F) to y (T, N, H).

A builder finds the carry in the graph under its names (`h0`, `c0`, ... each (N, H)) and leaves the
next carry under `h0_next`, ... . A cell that has no builder here is drawn by torch's exporter
(`tracing.py`); these are written by hand because what torch draws of them is slower or wrong.

Sources: operators LSTM-14, GRU-14 and Scan-16 of the ONNX specification; the packing of
`torch.nn.LSTM`, `GRU` and `RNN`. onnxruntime's kernels take no `layout=1`, and a `sequence_lens` of
zero clears the carry, so neither is used. Why the plain RNN is a Scan and not the operator RNN is
measured in `export/EXPERIMENTS.md`.
"""

from collections.abc import Callable, Mapping

import numpy as np
import onnx
from onnx import TensorProto, helper

from rnnserve_export.draft import Draft
from rnnserve_export.interface import next_name
from rnnserve_models.cells import Cell, FusedCell

CellGraph = Callable[[Draft, Cell, str], str]

# Positions in torch's packing of the gates that ONNX wants first, second, ...
LSTM_GATES = (0, 3, 1, 2)  # torch i, f, g, o -> ONNX i, o, f, c
GRU_GATES = (1, 0, 2)  # torch r, z, n -> ONNX z, r, h


def lstm(draft: Draft, cell: Cell, x: str) -> str:
    """LSTM layers. Adds `hK_next` and `cK_next`; returns the name of y (T, N, H)."""
    return _fused(draft, cell, x, "LSTM", ("h", "c"), LSTM_GATES)


def gru(draft: Draft, cell: Cell, x: str) -> str:
    """GRU layers that reset after the product, as torch does. Adds `hK_next`; returns y's name."""
    return _fused(draft, cell, x, "GRU", ("h",), GRU_GATES, linear_before_reset=1)


def rnn(draft: Draft, cell: Cell, x: str) -> str:
    """Elman layers, h = tanh(h W_hh' + (x W_xh' + b)). Adds `hK_next`; returns y's name."""
    arrays = _arrays(cell)
    H = cell.output_width
    for layer in range(_layers(arrays)):
        W = draft.constant(f"W{layer}", arrays[f"weight_ih_l{layer}"].T)  # (F, H)
        R = draft.constant(f"R{layer}", arrays[f"weight_hh_l{layer}"].T)  # (H, H)
        b = arrays[f"bias_ih_l{layer}"] + arrays[f"bias_hh_l{layer}"]
        draft.node("MatMul", [x, W], f"product{layer}")
        a = draft.node(
            "Add", [f"product{layer}", draft.constant(f"b{layer}", b)], f"drive{layer}"
        )  # (T, N, H)
        draft.multi_node(
            "Scan",
            [f"h{layer}", a],
            [next_name(f"h{layer}"), f"y{layer}"],
            body=_elman_step(layer, R, H),
            num_scan_inputs=1,
        )
        x = f"y{layer}"
    return x


CELL_GRAPHS: dict[str, CellGraph] = {"rnn": rnn, "lstm": lstm, "gru": gru}
"""Every builder, by the name that its cell has in `rnnserve_models.cells.CELLS`."""


def _fused(
    draft: Draft,
    cell: Cell,
    x: str,
    op: str,
    kinds: tuple[str, ...],
    gates: tuple[int, ...],
    **attributes: int,
) -> str:
    """Layers of one of ONNX's recurrent operators, each with its own carry."""
    arrays = _arrays(cell)
    for layer in range(_layers(arrays)):
        packed = packed_layer(arrays, layer, gates)
        W, R, B = (draft.constant(f"{name}{layer}", array) for name, array in packed.items())
        carry = [f"{kind}{layer}" for kind in kinds]
        before = [draft.unsqueeze(name, 0, f"{name}_before") for name in carry]  # (1, N, H)
        after = [f"{name}_after" for name in carry]  # (1, N, H)
        draft.multi_node(
            op,
            [x, W, R, B, "", *before],  # "": no sequence_lens
            [f"Y{layer}", *after],
            hidden_size=cell.output_width,
            **attributes,
        )
        for name, array in zip(carry, after, strict=True):
            draft.squeeze(array, 0, next_name(name))
        x = draft.squeeze(f"Y{layer}", 1, f"y{layer}")  # (T, 1, N, H) -> (T, N, H)
    return x


def _elman_step(layer: int, R: str, H: int) -> onnx.GraphProto:
    """One step: h (N, H) and the drive (N, H) to the next h, once as carry and once as output."""

    def tensor(name: str) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(f"{name}{layer}", TensorProto.FLOAT, ["N", H])

    nodes = [
        helper.make_node("Gemm", [f"h_in{layer}", R, f"a{layer}"], [f"sum{layer}"]),
        helper.make_node("Tanh", [f"sum{layer}"], [f"h_out{layer}"]),
        helper.make_node("Identity", [f"h_out{layer}"], [f"y_out{layer}"]),
    ]
    inputs, outputs = [tensor("h_in"), tensor("a")], [tensor("h_out"), tensor("y_out")]
    return helper.make_graph(nodes, f"elman{layer}", inputs, outputs)


def _arrays(cell: Cell) -> dict[str, np.ndarray]:
    """The cell's parameters by torch's names, float32."""
    assert isinstance(cell, FusedCell)
    return {
        name: parameter.detach().cpu().float().numpy()
        for name, parameter in cell.net.named_parameters()
    }


def _layers(arrays: dict[str, np.ndarray]) -> int:
    return sum(name.startswith("weight_hh_l") for name in arrays)


def packed_layer(
    arrays: Mapping[str, np.ndarray], layer: int, gates: tuple[int, ...]
) -> dict[str, np.ndarray]:
    """A layer of torch's LSTM or GRU as ONNX wants it, its biases zeros where it has none.

    W (1, gates * H, F), R (1, gates * H, H) and B (1, 2 * gates * H), in this order.
    """
    W, R = (_reorder(arrays[f"weight_{side}_l{layer}"], gates) for side in ("ih", "hh"))
    none = np.zeros(len(W), W.dtype)
    biases = [_reorder(arrays.get(f"bias_{side}_l{layer}", none), gates) for side in ("ih", "hh")]
    return {"W": W[None], "R": R[None], "B": np.concatenate(biases)[None]}


def _reorder(packed: np.ndarray, gates: tuple[int, ...]) -> np.ndarray:
    """Gates stacked along the first axis, in another order."""
    pieces = np.split(packed, len(gates))
    return np.concatenate([pieces[gate] for gate in gates])
