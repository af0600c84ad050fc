"""The model that Triton's Python backend runs; copied into its repository, never imported here.

As good as a Python model gets: every request of a call runs in one batch, carries lie in arrays
with a row for each sequence, and gather and scatter are one indexing each.
"""

import json
import sys
from pathlib import Path
from typing import Any

# The stub's interpreter is isolated and looks at no PYTHONPATH.
sys.path.insert(0, Path(__file__).with_name("site-packages.txt").read_text())

import numpy as np
import onnxruntime as ort
import triton_python_backend_utils as pb_utils  # type: ignore[import-not-found]

SLOTS = 1024


class TritonPythonModel:
    """`execute` is called with the requests of one batch, at most one of each sequence."""

    def initialize(self, args: dict[str, str]) -> None:
        folder = Path(args["model_repository"]) / args["model_version"]
        facts = json.loads((folder / "facts.json").read_text())
        self._tokens = facts["tokens"]
        self._names = [name for name, _, _ in facts["carry"]]
        self._fetches = [output for _, output, _ in facts["carry"]] + [facts["logits"]]
        self._carry = [np.zeros((SLOTS, *shape), np.float32) for _, _, shape in facts["carry"]]
        self._slots: dict[int, int] = {}
        self._free = list(range(SLOTS))
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.inter_op.allow_spinning", "0")
        options.add_session_config_entry("session.set_denormal_as_zero", "1")
        self._session = ort.InferenceSession(
            str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
        )

    def execute(self, requests: list[Any]) -> list[Any]:
        rows, chunks, ended = [], [], []
        for request in requests:
            sequence, start, end, chunk = (
                pb_utils.get_input_tensor_by_name(request, name).as_numpy()
                for name in ("CORRID", "START", "END", "TOKENS")
            )
            sequence = int(sequence.flat[0])
            rows.append(self._slot(sequence, bool(start.flat[0])))
            chunks.append(chunk)
            if end.flat[0]:
                ended.append(sequence)
        if len({chunk.shape[1] for chunk in chunks}) == 1:
            outputs = list(self._run(rows, np.concatenate(chunks)))
        else:
            outputs = [self._run([row], chunk)[0] for row, chunk in zip(rows, chunks, strict=True)]
        for sequence in ended:
            self._free.append(self._slots.pop(sequence))
        return [
            pb_utils.InferenceResponse([pb_utils.Tensor("LOGITS", output[np.newaxis])])
            for output in outputs
        ]

    def _slot(self, sequence: int, start: bool) -> int:
        slot = self._slots.get(sequence)
        if slot is None:
            slot = self._slots[sequence] = self._free.pop()
        if start:
            for array in self._carry:
                array[slot] = 0
        return slot

    def _run(self, rows: list[int], chunk: np.ndarray) -> Any:
        """The logits (B, T, V) of tokens (B, T); the rows' carries go on."""
        index = np.array(rows)
        feed = {name: array[index] for name, array in zip(self._names, self._carry, strict=True)}
        feed[self._tokens] = chunk
        *carry, logits = self._session.run(self._fetches, feed)
        for array, values in zip(self._carry, carry, strict=True):
            array[index] = values
        return logits
