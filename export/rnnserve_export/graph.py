"""The ONNX file of a `LanguageModel`: tokens and carry in, logits and next carry out.

    tokens (N, T) int64, h0 (N, H), c0 (N, H), ...   ->   logits (N, T, V), h0_next, c0_next, ...

N and T are free. Where the cell has a builder (`cells.py`), the file is written operator by
operator, so what stands in it is what is meant; otherwise torch's exporter draws it (`tracing.py`),
as it does a user's own module. Dropout has no part in it.
"""

import numpy as np
import onnx
from onnx import TensorProto, checker, helper
from torch import Tensor

from rnnserve_export.cells import CELL_GRAPHS, CellGraph
from rnnserve_export.draft import Draft
from rnnserve_export.interface import LOGITS, TOKENS, model_spec, next_name, torch_model
from rnnserve_models.language_model import LanguageModel

# All that the operators used here need; every onnxruntime since 1.12 (2022) takes them.
OPSET = 17
IR_VERSION = 8


def build_graph(model: LanguageModel) -> bytes:
    """The bytes of `model.onnx`: the same for the same weights.

    Raises UnservableModule when the model's cell has no builder, and torch can't draw it.
    """
    if builder := CELL_GRAPHS.get(model.shape.cell):
        return _written(model, builder)
    # torch's exporter takes seconds to load, and the others don't need it.
    from rnnserve_export.tracing import trace

    return trace(torch_model(model), model_spec(model, "language_model"))


def _written(model: LanguageModel, builder: CellGraph) -> bytes:
    draft = Draft()
    embedding = draft.constant("embedding", _array(model.embedding.weight))  # (V, E)
    # ONNX's recurrent operators are time-major; integers are cheaper to transpose than vectors.
    draft.node("Transpose", [TOKENS], "tokens_by_time", perm=[1, 0])  # (T, N)
    x = draft.node("Gather", [embedding, "tokens_by_time"], "x", axis=0)  # (T, N, E)
    y = builder(draft, model.cell, x)  # (T, N, H)
    draft.node("Transpose", [y], "y_by_row", perm=[1, 0, 2])  # (N, T, H)
    W = draft.constant("W_hy", _array(model.readout.weight).T)  # (H, V)
    draft.node("MatMul", ["y_by_row", W], "product")  # (N, T, V)
    draft.node("Add", ["product", draft.constant("b_y", _array(model.readout.bias))], LOGITS)
    return _file(model, draft)


def _file(model: LanguageModel, draft: Draft) -> bytes:
    shape = model.shape
    widths = {name: entry.shape for name, entry in model.carry_shapes().items()}
    inputs = [helper.make_tensor_value_info(TOKENS, TensorProto.INT64, ["N", "T"])]
    outputs = [_floats(LOGITS, ["N", "T", shape.vocabulary])]
    inputs += [_floats(name, ["N", *width]) for name, width in widths.items()]
    outputs += [_floats(next_name(name), ["N", *width]) for name, width in widths.items()]
    file = helper.make_model(
        helper.make_graph(draft.nodes, "language_model", inputs, outputs, draft.initializers()),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        # No version of the producer: equal networks must give equal files.
        producer_name="rnnserve",
        doc_string=(
            f"{shape.cell.upper()} language model, {shape.layers} layers of {shape.hidden} units, "
            f"{shape.vocabulary} tokens. The carry goes in as {', '.join(widths)} (zeros at the "
            f"start of a text) and comes out with {next_name('')} at the end of each name."
        ),
    )
    checker.check_model(file, full_check=True)
    return bytes(file.SerializeToString(deterministic=True))


def _floats(name: str, dims: list[str | int]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, dims)


def _array(parameter: Tensor) -> np.ndarray:
    return parameter.detach().cpu().float().numpy()
