"""Golden vectors: `golden.npz`, by which anybody can check a server of this model.

Keys, named as the tensors in `config.pbtxt`:

    tokens (B, T) int64, ...        what goes in
    h0, c0, ... (B, ...)            the carry before the first step; rows 0 and 1 are zeros, so a
                                    fresh session answers them, the others want an imported carry
    logits (B, T, V) float32, ...   what must come out after each step
    h0_next, c0_next, ...           and the carry after the last one
    tolerance () float64            the most that an answer may be off, relative to the expected
                                    value where that is larger than one, absolute elsewhere

A language model's come from the equations in plain NumPy, neither by torch nor by onnxruntime;
another module's from torch. Computed in float64 where that is possible, and stored in the types of
the graph. Read it with `numpy.load(path)`; it holds no pickled objects.
"""

import io
import zipfile
from dataclasses import dataclass

import numpy as np
from numpy.lib import format as npy

from rnnserve.repository.spec import ModelSpec
from rnnserve_export.feed import Feed, Reached, zero_carry
from rnnserve_export.parity import Answer, Arrays, Compute

FRESH_ROWS = 2
IMPORTED_ROWS = 2
STEPS = 32
TOLERANCE_KEY = "tolerance"


@dataclass(frozen=True)
class Golden:
    """Inputs (B, T, ...), the carry before, and the answer expected."""

    source: str
    """What computed the answer."""
    inputs: Arrays
    carry: Arrays
    answer: Answer

    def to_npz(self, spec: ModelSpec, tolerance: float) -> bytes:
        """The bytes of `golden.npz`, the same for the same vectors."""
        after, outputs = self.answer
        arrays = {**self.inputs, **outputs, **self.carry}
        arrays |= {entry.output_name: after[entry.input_name] for entry in spec.carry}
        file = io.BytesIO()
        # Not np.savez: it has names of its own for its arguments, which a tensor may have too.
        with zipfile.ZipFile(file, "w") as archive:
            for name, array in {**arrays, TOLERANCE_KEY: np.float64(tolerance)}.items():
                with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w") as entry:
                    npy.write_array(entry, np.asanyarray(array), allow_pickle=False)
        return file.getvalue()


def golden_vectors(exact: Compute, source: str, feed: Feed, seed: int = 1) -> Golden:
    """Ask `exact` for its answer to pieces of the example."""
    rng, spec = np.random.default_rng(seed), feed.spec
    inputs = feed.as_met(FRESH_ROWS + IMPORTED_ROWS, STEPS)
    zeros = zero_carry(spec, FRESH_ROWS)
    reached = Reached(exact, feed, rng).draw(IMPORTED_ROWS, rng)
    carry = {
        name: np.concatenate([array, reached[name].astype(array.dtype)])
        for name, array in zeros.items()
    }
    after, outputs = exact(carry, inputs)
    stored = {e.input_name: after[e.input_name].astype(e.dtype) for e in spec.carry}
    given = {t.name: outputs[t.name].astype(t.dtype) for t in spec.outputs}
    return Golden(source, inputs, carry, (stored, given))
