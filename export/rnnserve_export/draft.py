"""An ONNX graph while it is being written: nodes and constants in the order they were added."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper


@dataclass
class Draft:
    """Nodes and constant initializers; every method returns the name to refer to the result by.

    Weights have to be initializers: onnxruntime packs only those ahead, once for all steps.
    """

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: dict[str, np.ndarray] = field(default_factory=dict)

    def constant(self, name: str, array: np.ndarray) -> str:
        """Add an initializer; the same name again must bring the same array."""
        known = self.constants.setdefault(name, array)
        assert known is array or np.array_equal(known, array), f"two constants called {name}"
        return name

    def node(self, op: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """Add an operator with one output."""
        self.nodes.append(helper.make_node(op, inputs, [output], **attributes))
        return output

    def multi_node(self, op: str, inputs: list[str], outputs: list[str], **attributes: Any) -> None:
        """Add an operator with several outputs."""
        self.nodes.append(helper.make_node(op, inputs, outputs, **attributes))

    def unsqueeze(self, name: str, axis: int, output: str) -> str:
        return self.node("Unsqueeze", [name, self._axis(axis)], output)

    def squeeze(self, name: str, axis: int, output: str) -> str:
        return self.node("Squeeze", [name, self._axis(axis)], output)

    def initializers(self) -> list[onnx.TensorProto]:
        return [
            numpy_helper.from_array(np.ascontiguousarray(array), name)
            for name, array in self.constants.items()
        ]

    def _axis(self, axis: int) -> str:
        return self.constant(f"axis_{axis}", np.array([axis], np.int64))
