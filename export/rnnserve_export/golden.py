"""Golden vectors: `golden.npz`, by which anybody can check a server of this model.

Keys, named as the tensors in `config.pbtxt`:

    tokens (B, T) int64             what goes in
    h0, c0, ... (B, H) float32      the carry before the first token; rows 0 and 1 are zeros, so
                                    a fresh session answers them, the others want an imported carry
    logits (B, T, V) float32        what must come out after each token
    h0_next, c0_next, ... (B, H)    and the carry after the last one
    tolerance () float64            the most that an answer may be off, relative to the expected
                                    value where that is larger than one, absolute elsewhere

Computed in float64 from the equations in plain NumPy, neither by torch nor by onnxruntime, and
stored as float32. Read it with `numpy.load(path)`; it holds no pickled objects.
"""

import io
from dataclasses import dataclass

import numpy as np

from rnnserve.repository.spec import ModelSpec
from rnnserve_export.cases import random_carry, zero_carry
from rnnserve_export.parity import Answer, Arrays
from rnnserve_models.language_model import LanguageModel
from rnnserve_models.reference.language_model import ReferenceLanguageModel

FRESH_ROWS = 2
IMPORTED_ROWS = 2
STEPS = 32


@dataclass(frozen=True)
class Golden:
    """Tokens (B, T), the carry before, the answer expected, float32."""

    tokens: np.ndarray
    carry: Arrays
    answer: Answer

    def to_npz(self, spec: ModelSpec, tolerance: float) -> bytes:
        """The bytes of `golden.npz`, the same for the same vectors."""
        after, logits = self.answer
        arrays = {spec.inputs[0].name: self.tokens, spec.outputs[0].name: logits, **self.carry}
        arrays |= {entry.output_name: after[entry.input_name] for entry in spec.carry}
        file = io.BytesIO()
        np.savez(file, allow_pickle=False, **arrays, tolerance=np.float64(tolerance))
        return file.getvalue()


def golden_vectors(
    model: LanguageModel, spec: ModelSpec, text: np.ndarray, seed: int = 1
) -> Golden:
    """Ask the reference for its answer to pieces of `text` (K,), repeated where it is too short."""
    rng = np.random.default_rng(seed)
    B = FRESH_ROWS + IMPORTED_ROWS
    tokens = np.resize(text.astype(np.int64), (B, STEPS))
    zeros, random = zero_carry(spec, FRESH_ROWS), random_carry(spec, IMPORTED_ROWS, rng)
    carry = {name: np.concatenate([zeros[name], random[name]]) for name in zeros}
    after, logits = ReferenceLanguageModel(model, np.float64)(carry, tokens)
    stored = {name: array.astype(np.float32) for name, array in after.items()}
    return Golden(tokens, carry, (stored, logits.astype(np.float32)))
