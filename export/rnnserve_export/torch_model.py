"""A torch module that carries something, called alike whoever wrote it.

    module(carry, **inputs) -> (carry, outputs)

`carry` is a dict of tensors by the names of the states, each (B, ...); inputs are (B, T, ...), or
(B, ...) where a call is one step. The outputs are a tensor, a tuple of them, or a dict by name.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from rnnserve_export.errors import UnservableModule

Tensors = dict[str, Tensor]

ONLY_OUTPUT = "output"
"""The name of an output that comes as a bare tensor, unless it is given another."""


@dataclass(frozen=True)
class TorchModel:
    """A module, and the names of what goes in and comes out, in their order."""

    module: nn.Module
    states: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...] = ()
    """Empty: those of the dict that the module returns, or `output`."""
    has_time: bool = True
    """Whether axis 1 of inputs and outputs is time; otherwise a call is one step."""

    def __call__(self, carry: Tensors, inputs: Tensors) -> tuple[Tensors, Tensors]:
        """Run once; the tensors given are left as they are.

        Raises UnservableModule when what comes back isn't `(carry, outputs)` as promised, and
        whatever the module raises.
        """
        # A module may write into its carry, and a caller may need what it gave.
        before = {name: carry[name].clone() for name in self.states}
        found = self.module(before, **{name: inputs[name] for name in self.inputs})
        if not isinstance(found, tuple | list) or len(found) != 2:
            raise UnservableModule(f"forward must return (carry, outputs), found {_what(found)}")
        after, outputs = found
        return self._after(after), self._named(outputs)

    def twin(self, change: Callable[[nn.Module], Any] = lambda module: module) -> "TorchModel":
        """A copy on the CPU in eval mode, changed; this one is left alone."""
        module = copy.deepcopy(self.module).to("cpu").eval()
        change(module)
        return TorchModel(module, self.states, self.inputs, self.outputs, self.has_time)

    def _after(self, after: Any) -> Tensors:
        if not isinstance(after, Mapping) or set(after) != set(self.states):
            raise UnservableModule(
                f"forward must return a carry with the states {list(self.states)}, found "
                + (f"{list(after)}" if isinstance(after, Mapping) else _what(after))
            )
        return {name: _tensor(f"the state {name!r}", after[name]) for name in self.states}

    def _named(self, outputs: Any) -> Tensors:
        if isinstance(outputs, Mapping):
            names = self.outputs or tuple(map(str, outputs))
            if set(names) != set(outputs):
                raise UnservableModule(
                    f"forward returns the outputs {list(outputs)}, and {list(names)} are named"
                )
            return {name: _tensor(f"the output {name!r}", outputs[name]) for name in names}
        given = [outputs] if isinstance(outputs, Tensor) else outputs
        if not isinstance(given, Sequence) or not given:
            raise UnservableModule(
                f"outputs must be a tensor, a tuple of them or a dict, found {_what(outputs)}"
            )
        names = self.outputs or (ONLY_OUTPUT,)
        if len(names) != len(given):
            raise UnservableModule(
                f"forward returns {len(given)} outputs, and {len(names)} are named: return a dict "
                "by name, or name them all with outputs=(...)"
            )
        return {n: _tensor(f"the output {n!r}", t) for n, t in zip(names, given, strict=True)}


def _tensor(what: str, found: Any) -> Tensor:
    if not isinstance(found, Tensor):
        raise UnservableModule(f"{what} must be a tensor, found {_what(found)}")
    return found


def _what(found: Any) -> str:
    if isinstance(found, Tensor):
        return f"a tensor {list(found.shape)}"
    if isinstance(found, tuple | list):
        return f"a {type(found).__name__} of {len(found)}"
    return f"a {type(found).__name__}"
