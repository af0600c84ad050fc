"""Graphs as they are found outside, each with one thing that has to be noticed."""

import numpy as np
import onnx
from onnx import TensorProto, helper

from foreign_models import file_of, value
from rnnserve_export.draft import Draft

INT64 = TensorProto.INT64
Dims = list[int | str]


def weights(seed: int, *shape: int) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(shape) / shape[-1] ** 0.5).astype("f")


def accumulator(
    entry: str = "total", following: str = "total_next", rows: Dims | None = None
) -> bytes:
    """y = 2 * (state + x), and that sum is the next state."""
    dims: Dims = ["N", 3] if rows is None else rows
    draft = Draft()
    draft.node("Add", [entry, "x"], following)
    draft.node("Add", [following, following], "y")
    return file_of(
        draft, [value("x", dims), value(entry, dims)], [value("y", dims), value(following, dims)]
    )


def nameless_grus(b: str = "b", c: str = "c", p: str = "p", q: str = "q") -> bytes:
    """Two GRU layers, b to q and c to p; the names say nothing, or what they should not."""
    draft = Draft()
    x = draft.node("Transpose", ["a"], "x", perm=[1, 0, 2])
    for place, (begin, end, width) in enumerate([(b, q, 5), (c, p, 4)]):
        cell = [
            draft.constant(f"W{place}", weights(place, 1, 12, width)),
            draft.constant(f"R{place}", weights(place + 9, 1, 12, 4)),
        ]
        draft.unsqueeze(begin, 0, f"{begin}_")
        ends = [f"all{place}", f"{end}_"]
        draft.multi_node("GRU", [x, *cell, "", "", f"{begin}_"], ends, hidden_size=4)
        draft.squeeze(f"{end}_", 0, end)
        x = draft.squeeze(ends[0], 1, f"x{place}")
    draft.node("Transpose", [x], "r", perm=[1, 0, 2])
    given = [value(c, ["N", 4]), value(b, ["N", 4]), value("a", ["N", "T", 5])]
    return file_of(
        draft, given, [value(p, ["N", 4]), value(q, ["N", 4]), value("r", ["N", "T", 4])]
    )


def cell_by_hand(h: str, c: str) -> bytes:
    """An LSTM cell of single operators; inputs x, h and c, outputs out_1 (y), out_2 (c), out_3."""
    draft = Draft()
    for name, width in (("x", 5), (h, 8)):
        draft.node("MatMul", [name, draft.constant(f"W_{name}", weights(1, width, 32))], f"_{name}")
    draft.node("Add", ["_x", f"_{h}"], "gates")
    draft.multi_node("Split", ["gates"], ["i_", "f_", "o_", "g_"], axis=1)
    gates = [draft.node("Sigmoid", [f"{gate}_"], f"{gate}s") for gate in "ifo"]
    draft.node("Tanh", ["g_"], "gs")
    draft.node("Mul", [gates[0], "gs"], "new")
    draft.node("Mul", [gates[1], c], "kept")
    draft.node("Add", ["new", "kept"], "out_2")
    draft.node("Tanh", ["out_2"], "bent")
    draft.node("Mul", [gates[2], "bent"], "out_3")
    draft.node("MatMul", ["out_3", draft.constant("W_y", weights(2, 8, 3))], "out_1")
    widths = {"x": 5, h: 8, c: 8}
    return file_of(
        draft,
        [value(name, ["N", width]) for name, width in widths.items()],
        [value(f"out_{place}", ["N", width]) for place, width in ((1, 3), (2, 8), (3, 8))],
    )


def sliding_window() -> bytes:
    """y is the sum of the last three steps; `left` and `tail` hold two steps."""
    draft = Draft()
    axis, two = draft.constant("one", np.array([1])), draft.constant("two", np.array([-2]))
    end = draft.constant("end", np.array([2**31]))
    zero = draft.constant("zero", np.array([0]))
    draft.node("Concat", ["left", "x"], "all", axis=1)
    draft.node("Slice", ["all", two, end, axis], "tail")
    for place in range(3):
        stop = draft.constant(f"stop{place}", np.array([place - 2 if place < 2 else 2**31]))
        start = zero if place == 0 else draft.constant(f"start{place}", np.array([place]))
        draft.node("Slice", ["all", start, stop, axis], f"part{place}")
    draft.node("Sum", ["part0", "part1", "part2"], "y")
    given = [value("x", ["N", "T", 3]), value("left", ["N", 2, 3])]
    return file_of(draft, given, [value("tail", ["N", 2, 3]), value("y", ["N", "T", 3])])


def twins(a: str = "a", b: str = "b") -> bytes:
    """Two sums that nothing tells apart: p and q are computed alike from both states."""
    draft = Draft()
    draft.node("Sum", ["x", a, b], "p")
    draft.node("Sum", [b, "x", a], "q")
    draft.node("MatMul", ["p", draft.constant("W", weights(3, 4, 2))], "y")
    names = ("x", a, b)
    given = [value(name, ["N", 4]) for name in names]
    return file_of(draft, given, [value("y", ["N", 2]), *(value(n, ["N", 4]) for n in "pq")])


def normed_over_rows() -> bytes:
    """Each row less the mean of all rows."""
    draft = Draft()
    draft.node("Add", ["h", "x"], "h_next")
    draft.node("ReduceMean", ["h_next"], "mean", axes=[0], keepdims=1)
    draft.node("Sub", ["h_next", "mean"], "y")
    given = [value("x", ["N", 3]), value("h", ["N", 3])]
    return file_of(draft, given, [value("y", ["N", 3]), value("h_next", ["N", 3])])


def looking_ahead(following: str = "h_next") -> bytes:
    """y is each step less the mean of its whole message; the state is the sum of all steps."""
    draft = Draft()
    draft.node("ReduceMean", ["x"], "mean", axes=[1], keepdims=1)
    draft.node("Sub", ["x", "mean"], "y")
    draft.node("ReduceSum", ["x", draft.constant("one", np.array([1]))], "sum", keepdims=0)
    draft.node("Add", ["h", "sum"], following)
    given = [value("x", ["N", "T", 3]), value("h", ["N", 3])]
    return file_of(draft, given, [value("y", ["N", "T", 3]), value(following, ["N", 3])])


def drawing_lots() -> bytes:
    """y has noise in it."""
    draft = Draft()
    draft.node("RandomNormalLike", ["x"], "noise")
    draft.node("Add", ["h", "x"], "h_next")
    draft.node("Add", ["h_next", "noise"], "y")
    given = [value("x", ["N", 3]), value("h", ["N", 3])]
    return file_of(draft, given, [value("y", ["N", 3]), value("h_next", ["N", 3])])


def growing() -> bytes:
    """The past grows by one entry a step; y is its mean."""
    draft = Draft()
    draft.unsqueeze("x", 1, "entry")
    draft.node("Concat", ["past", "entry"], "present", axis=1)
    draft.node("ReduceMean", ["present"], "y", axes=[1], keepdims=0)
    given = [value("x", ["N", 3]), value("past", ["N", "P", 3])]
    return file_of(draft, given, [value("y", ["N", 3]), value("present", ["N", "P1", 3])])


def speaker() -> bytes:
    """A sum that a speaker's vector is added to; x is time-major, and so is y."""
    draft = Draft()
    draft.node("Add", ["h", "speaker"], "level")
    draft.node("ReduceSum", ["x", draft.constant("zero", np.array([0]))], "sum", keepdims=0)
    draft.node("Add", ["h", "sum"], "h_next")
    draft.node("CumSum", ["x", draft.constant("axis", np.array(0))], "sums")
    draft.node("Add", ["sums", "level"], "y")
    rows: Dims = ["batch", 3]
    given = [value("x", ["time", *rows]), value("h", rows), value("speaker", rows)]
    return file_of(draft, given, [value("y", ["time", *rows]), value("h_next", rows)])


def counting() -> bytes:
    """Tokens in, an embedding and how many there were; the count has no axis at all."""
    draft = Draft()
    draft.node("Gather", [draft.constant("table", weights(4, 7, 3)), "token"], "y")
    # A constant of a Draft has an axis at least.
    one = draft.node("Constant", [], "one", value=helper.make_tensor("one", INT64, [], [1]))
    draft.node("Add", ["count", one], "count_out")
    given = [value("token", ["N"], INT64), value("count", [], INT64)]
    return file_of(draft, given, [value("y", ["N", 3]), value("count_out", [], INT64)])


def with_custom_domain() -> bytes:
    model = onnx.load_from_string(accumulator())
    model.graph.node[0].domain = "com.example"
    model.opset_import.append(helper.make_opsetid("com.example", 1))
    return bytes(model.SerializeToString())


def with_external_data() -> bytes:
    model = onnx.load_from_string(cell_by_hand("h", "c"))
    tensor = model.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="weights.bin")
    tensor.ClearField("raw_data")
    return bytes(model.SerializeToString())
