"""What ONNX's operators do to a value, as far as it matters to what becomes of a state.

An operator moves a value (a slice of it is still the same numbers), blends it with others number by
number, bends it, or mixes it up. The costs are orders of magnitude, not measurements: a state is
nearer to its next one than to anything else, because gates blend it and layers mix it up.
"""

MOVE, BLEND, BEND, MIX = 0, 1, 3, 10

ALL, FIRST = frozenset(range(64)), frozenset({0})


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_OF_ONE = _set(
    "Cast CastLike ConcatFromSequence DepthToSpace Dropout Expand Flatten Gather GatherElements "
    "GatherND Identity Pad Reshape ReverseSequence SequenceAt Slice SpaceToDepth Split "
    "SplitToSequence Squeeze Tile Transpose Trilu Unsqueeze"
)
MOVERS: dict[str, frozenset[int]] = {
    **dict.fromkeys(_OF_ONE, FIRST),
    "Concat": ALL,
    "SequenceConstruct": ALL,
    "Where": frozenset({1, 2}),
    "ScatterElements": frozenset({0, 2}),
    "ScatterND": frozenset({0, 2}),
}
"""Operators that move numbers, with the inputs that they move; the other inputs only say where."""
BLENDERS = _set("Add Clip Div Max Mean Min Mul Neg Sub Sum")
BENDERS = _set(
    "Abs Celu Elu Erf Exp Gelu HardSigmoid HardSwish LeakyRelu Log Mish Pow PRelu Reciprocal Relu "
    "Selu Sigmoid Softplus Softsign Sqrt Swish Tanh ThresholdedRelu"
)
MEASURERS = _set("Shape Size")
"""Operators that look at a value's shape and not at its numbers."""

CELL = {5: ("initial_h", 1, "Y_h"), 6: ("initial_c", 2, "Y_c")}
MEMORIES: dict[str, dict[int, tuple[str, int, str]]] = {
    "RNN": CELL,
    "GRU": CELL,
    "LSTM": CELL,
    "DynamicQuantizeLSTM": CELL,
    "Attention": {4: ("past_key", 1, "present_key"), 5: ("past_value", 2, "present_value")},
    "GroupQueryAttention": {
        3: ("past_key", 1, "present_key"),
        4: ("past_value", 2, "present_value"),
    },
    "MultiHeadAttention": {
        6: ("past_key", 1, "present_key"),
        7: ("past_value", 2, "present_value"),
    },
}
"""Operators that have a memory: at which input it goes in, and at which output it comes out, with
the names that the operators' specification has for them."""
SEQUENCE_CELLS = frozenset({"RNN", "GRU", "LSTM", "DynamicQuantizeLSTM"})
"""Those whose first output is all the steps, the last of which is the memory too."""

RANDOM = _set("Bernoulli Multinomial RandomNormal RandomNormalLike RandomUniform RandomUniformLike")
BATCH_WIDE = _set("DynamicQuantizeLSTM DynamicQuantizeLinear DynamicQuantizeMatMul")
"""Operators that take one scale over all rows of a batch."""


def cost(operator: str, place: int) -> int | None:
    """What the input at `place` goes through; None: its numbers don't matter."""
    if operator in MEASURERS:
        return None
    if operator in MOVERS:
        return MOVE if place in MOVERS[operator] else MIX
    if operator in BLENDERS:
        return BLEND
    return BEND if operator in BENDERS else MIX
