"""Runs one batch in onnxruntime and remembers nothing. onnxruntime is imported here only."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime as ort

from rnnserve.errors import ModelProblem
from rnnserve.repository.spec import ModelSpec

Arrays = tuple[np.ndarray, ...]

_NUMPY_DTYPES = {
    "tensor(bool)": np.dtype(np.bool_),
    "tensor(uint8)": np.dtype(np.uint8),
    "tensor(uint16)": np.dtype(np.uint16),
    "tensor(uint32)": np.dtype(np.uint32),
    "tensor(uint64)": np.dtype(np.uint64),
    "tensor(int8)": np.dtype(np.int8),
    "tensor(int16)": np.dtype(np.int16),
    "tensor(int32)": np.dtype(np.int32),
    "tensor(int64)": np.dtype(np.int64),
    "tensor(float16)": np.dtype(np.float16),
    "tensor(float)": np.dtype(np.float32),
    "tensor(double)": np.dtype(np.float64),
}


class Runner:
    """`(carry, inputs) -> (carry, outputs)` for one graph; may be called from any thread."""

    def __init__(self, spec: ModelSpec, graph: bytes) -> None:
        """Load the graph and hold `spec` against it.

        Raises ModelProblem when onnxruntime doesn't take the graph, or when a tensor of `spec` is
        missing, of another type or of another shape; the message says which and what was found.
        """
        self.spec = spec
        try:
            self._session = ort.InferenceSession(
                graph, _one_thread(), providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's exceptions share no narrower base
            # The text may name paths of the machine that built onnxruntime: it goes to the log.
            raise ModelProblem(
                f"{spec.name}/{spec.version}: onnxruntime doesn't take the graph; the log says why"
            ) from error
        _check(spec, self._session)
        self._feeds = [entry.input_name for entry in spec.carry]
        self._feeds += [tensor.name for tensor in spec.inputs]
        self._fetches = [entry.output_name for entry in spec.carry]
        self._fetches += [tensor.name for tensor in spec.outputs]

    def run(self, carry: Arrays, inputs: Arrays) -> tuple[Arrays, Arrays]:
        """Run B rows for T steps.

        `carry` is in the spec's order, each (B, ...); `inputs` likewise, each (B, T, ...). Returns
        the carry after the last step and the outputs, each (B, T, ...). Raises whatever
        onnxruntime raises when a value is one the graph can't take.
        """
        feed = dict(zip(self._feeds, carry + inputs, strict=True))
        results = self._session.run(self._fetches, feed)
        return tuple(results[: len(carry)]), tuple(results[len(carry) :])


def _one_thread() -> ort.SessionOptions:
    """One step is too little work for two threads, and a pool sized by the host's cores ignores
    a container's quota. Gates make denormals, which cost up to 18 times a normal number."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    return options


def _check(spec: ModelSpec, session: ort.InferenceSession) -> None:
    rows = [(c.input_name, c.output_name, c.dtype, c.shape) for c in spec.carry]
    expected_inputs = {name: (dtype, (None, *shape)) for name, _, dtype, shape in rows}
    expected_inputs |= {t.name: (t.dtype, (None, None, *t.shape)) for t in spec.inputs}
    expected_outputs = {name: (dtype, (None, *shape)) for _, name, dtype, shape in rows}
    expected_outputs |= {t.name: (t.dtype, (None, None, *t.shape)) for t in spec.outputs}
    _compare(spec, "input", expected_inputs, session.get_inputs())
    _compare(spec, "output", expected_outputs, session.get_outputs())
    if extra := {node.name for node in session.get_inputs()} - set(expected_inputs):
        raise ModelProblem(
            f"{spec.name}/{spec.version}: the graph also wants {sorted(extra)}; "
            "declare each in config.pbtxt as an input or as a state"
        )


def _compare(
    spec: ModelSpec,
    side: str,
    expected: dict[str, tuple[np.dtype, tuple[int | None, ...]]],
    nodes: Sequence[Any],
) -> None:
    found = {node.name: node for node in nodes}
    where = f"{spec.name}/{spec.version}"
    for name, (dtype, shape) in expected.items():
        if name not in found:
            raise ModelProblem(
                f"{where}: config.pbtxt names the {side} {name!r}, the graph has {sorted(found)}"
            )
        node = found[name]
        if _NUMPY_DTYPES.get(node.type) != dtype:
            raise ModelProblem(
                f"{where}: {side} {name!r} is {node.type}, config.pbtxt says {dtype}"
            )
        if not _fits(tuple(node.shape), shape):
            raise ModelProblem(
                f"{where}: {side} {name!r} has the shape {node.shape}, config.pbtxt says "
                f"{['any' if dim is None else dim for dim in shape]}"
            )


def _fits(found: tuple[int | str | None, ...], expected: tuple[int | None, ...]) -> bool:
    """A dimension that has to be free must be free; a fixed one may be left open by the graph."""
    return len(found) == len(expected) and all(
        not isinstance(dim, int) or dim == wanted
        for dim, wanted in zip(found, expected, strict=True)
    )
