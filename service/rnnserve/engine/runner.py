"""Runs one batch in onnxruntime and remembers nothing. onnxruntime is imported here only."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

# It would report to its maker how it is used, unless it is told not to before it is loaded.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime as ort

from rnnserve.engine.layout import Layout, constant, graph_dims, is_plain
from rnnserve.errors import ModelProblem
from rnnserve.repository.spec import Mark, ModelSpec

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
    "tensor(string)": np.dtype(object),
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
        names = [entry.output_name for entry in spec.carry if entry.output_name]
        self._fetches = list(dict.fromkeys([*names, *(tensor.name for tensor in spec.outputs)]))
        self._layout = None if is_plain(spec) else _layout(spec, self._session)

    def run(self, carry: Arrays, inputs: Arrays) -> tuple[Arrays, Arrays]:
        """Run B rows for T steps.

        `carry` is in the spec's order, each (B, ...); `inputs` likewise, each (B, T, ...), and then
        the control inputs, each (B,). Returns the carry after the last step and the outputs, each
        (B, T, ...). Raises whatever onnxruntime raises when a value is one the graph can't take.
        """
        if self._layout is not None:
            found = self._session.run(self._fetches, self._layout.feed(carry, inputs))
            return self._layout.back(carry, dict(zip(self._fetches, found, strict=True)))
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


def _layout(spec: ModelSpec, session: ort.InferenceSession) -> Layout:
    nodes = {node.name: node for node in session.get_inputs()}
    constants = {
        entry.name: constant(entry, _type_of(nodes[entry.name]), nodes[entry.name].shape)
        for entry in spec.constants
    }
    ranks = {control.name: len(nodes[control.name].shape) for control in spec.controls}
    return Layout(spec, ranks, constants)


def _type_of(node: Any) -> np.dtype:
    try:
        return _NUMPY_DTYPES[node.type]
    except KeyError:
        raise ModelProblem(f"{node.name!r} is {node.type}, which is not served") from None


def _check(spec: ModelSpec, session: ort.InferenceSession) -> None:
    inputs = {c.input_name: (c.dtype, graph_dims(spec, c)) for c in spec.carry}
    inputs |= {t.name: (t.dtype, graph_dims(spec, t)) for t in spec.inputs}
    outputs = {c.output_name: (c.dtype, graph_dims(spec, c)) for c in spec.carry if c.output_name}
    # An output state that clients get too is declared twice and given once.
    outputs |= {t.name: (t.dtype, graph_dims(spec, t)) for t in spec.outputs}
    _compare(spec, "input", inputs, session.get_inputs())
    _compare(spec, "output", outputs, session.get_outputs())
    _check_filled(spec, session)
    filled = _filled(spec)
    if extra := {node.name for node in session.get_inputs()} - set(inputs) - set(filled):
        raise ModelProblem(
            f"{spec.name}/{spec.version}: the graph also wants {sorted(extra)}; "
            "declare each in config.pbtxt as an input, a state, a control or a constant"
        )


def _filled(spec: ModelSpec) -> list[str]:
    """The graph's inputs that no client gives."""
    return [control.name for control in spec.controls] + [entry.name for entry in spec.constants]


def _check_filled(spec: ModelSpec, session: ort.InferenceSession) -> None:
    """Hold the inputs that the server fills in against the graph."""
    where = f"{spec.name}/{spec.version}"
    nodes = {node.name: node for node in session.get_inputs()}
    for name in _filled(spec):
        if name not in nodes:
            raise ModelProblem(
                f"{where}: config.pbtxt names the input {name!r}, the graph has {sorted(nodes)}"
            )
    for control in spec.controls:
        node = nodes[control.name]
        if _NUMPY_DTYPES.get(node.type) != control.dtype:
            # Triton hands 64-bit ids to a graph of 32 bits only where its config says so too.
            kind = "CORRID" if control.mark is Mark.CORRID else control.mark.value
            raise ModelProblem(
                f"{where}: control {control.name!r} ({kind}) is {node.type}, config.pbtxt says "
                f"{control.dtype}"
            )
        if any(isinstance(dim, int) and dim != 1 for dim in node.shape) or (
            spec.has_rows and (not node.shape or isinstance(node.shape[0], int))
        ):
            raise ModelProblem(
                f"{where}: control {control.name!r} has the shape {node.shape}, and must be one "
                "value a row"
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
        # An output whose shape the graph leaves open is held against it when it has run.
        if not (side == "output" and not node.shape) and not _fits(tuple(node.shape), shape):
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
