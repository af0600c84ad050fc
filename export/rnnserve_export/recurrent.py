"""torch's own LSTM, GRU and RNN modules as operators of a graph.

torch's exporter unrolls them or loops, freezes their length in the shapes that it writes down, and
cuts their weights out of others. So in the copy of a module that is drawn, each of them gives way
to layers of ONNX's operators, whose weights stand ready as constants. The plain RNN becomes a Scan
of one product and its activation (`export/EXPERIMENTS.md` has why).
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeGuard

import numpy as np
import torch
from onnxscript import opset20 as op
from torch import Tensor, nn
from torch._higher_order_ops.scan import scan

from rnnserve_export.cells import GRU_GATES, LSTM_GATES, packed_layer

State = Tensor | tuple[Tensor, Tensor]


@torch.library.custom_op("rnnserve::lstm_layer", mutates_args=())
def lstm_layer(
    x: Tensor, h: Tensor, c: Tensor, W: Tensor, R: Tensor, B: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """x (T, N, F), h and c (N, H), weights as ONNX has them: y (T, N, H), and the next h and c."""
    raise NotImplementedError("a layer of a graph is drawn, never run")


@torch.library.custom_op("rnnserve::gru_layer", mutates_args=())
def gru_layer(x: Tensor, h: Tensor, W: Tensor, R: Tensor, B: Tensor) -> tuple[Tensor, Tensor]:
    """x (T, N, F), h (N, H), weights as ONNX has them: y (T, N, H), and the next h."""
    raise NotImplementedError("a layer of a graph is drawn, never run")


@lstm_layer.register_fake
def _lstm_shapes(x: Tensor, h: Tensor, c: Tensor, W: Tensor, R: Tensor, B: Tensor) -> Any:
    return h.new_empty(x.shape[0], *h.shape), torch.empty_like(h), torch.empty_like(c)


@gru_layer.register_fake
def _gru_shapes(x: Tensor, h: Tensor, W: Tensor, R: Tensor, B: Tensor) -> Any:
    return h.new_empty(x.shape[0], *h.shape), torch.empty_like(h)


def _draw_lstm(x: Any, h: Any, c: Any, W: Any, R: Any, B: Any) -> Any:
    first, second = op.Constant(value_ints=[0]), op.Constant(value_ints=[1])
    h, c = op.Unsqueeze(h, first), op.Unsqueeze(c, first)
    y, h, c = op.LSTM(x, W, R, B, None, h, c, hidden_size=int(R.shape[2]))
    return op.Squeeze(y, second), op.Squeeze(h, first), op.Squeeze(c, first)


def _draw_gru(x: Any, h: Any, W: Any, R: Any, B: Any) -> Any:
    first, second = op.Constant(value_ints=[0]), op.Constant(value_ints=[1])
    h = op.Unsqueeze(h, first)
    y, h = op.GRU(x, W, R, B, None, h, hidden_size=int(R.shape[2]), linear_before_reset=1)
    return op.Squeeze(y, second), op.Squeeze(h, first)


OPERATORS: dict[Callable[..., Any], Callable[..., Any]] = {
    torch.ops.rnnserve.lstm_layer.default: _draw_lstm,
    torch.ops.rnnserve.gru_layer.default: _draw_gru,
}
"""What torch's exporter has to know of the layers here."""


class DrawnRNN(nn.Module):
    """Stands in for `nn.LSTM`, `nn.GRU` or `nn.RNN` while a graph is drawn; called as they are."""

    def __init__(self, net: nn.RNNBase) -> None:
        super().__init__()
        self.kind = type(net)
        self.layers = net.num_layers
        self.hidden = net.hidden_size
        self.batch_first = net.batch_first
        self.activate = torch.relu if getattr(net, "nonlinearity", "") == "relu" else torch.tanh
        arrays = {name: array.detach().numpy() for name, array in net.named_parameters()}
        for layer in range(net.num_layers):
            for name, array in self._weights(arrays, layer).items():
                self.register_buffer(f"{name}{layer}", torch.from_numpy(array))

    def forward(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """x (N, T, F) or (T, N, F), state as torch has it, each (layers, N, H)."""
        x = x.transpose(0, 1) if self.batch_first else x
        before = self._before(x, state)
        after = []
        for layer in range(self.layers):
            x, *carry = self._layer(layer, x, [array[layer] for array in before])
            after.append(carry)
        x = x.transpose(0, 1) if self.batch_first else x
        first, *second = (torch.stack(arrays) for arrays in zip(*after, strict=True))
        return x, (first, *second) if second else first

    def _before(self, x: Tensor, state: State | None) -> list[Tensor]:
        if state is None:
            zeros = x.new_zeros(self.layers, x.shape[1], self.hidden)
            return [zeros, zeros] if self.kind is nn.LSTM else [zeros]
        return [state] if isinstance(state, Tensor) else list(state)

    def _layer(self, layer: int, x: Tensor, carry: list[Tensor]) -> tuple[Tensor, ...]:
        W, R, B = (getattr(self, f"{name}{layer}") for name in "WRB")
        if self.kind is nn.LSTM:
            return torch.ops.rnnserve.lstm_layer(x, *carry, W, R, B)
        if self.kind is nn.GRU:
            return torch.ops.rnnserve.gru_layer(x, *carry, W, R, B)

        def step(h: Tensor, drive: Tensor) -> tuple[Tensor, Tensor]:
            h = self.activate(torch.addmm(drive, h, R))
            return h, h.clone()

        h, y = scan(step, carry[0], x @ W + B, dim=0)
        return y, h

    def _weights(self, arrays: Mapping[str, np.ndarray], layer: int) -> dict[str, np.ndarray]:
        if self.kind is not nn.RNN:
            gates = LSTM_GATES if self.kind is nn.LSTM else GRU_GATES
            return packed_layer(arrays, layer, gates)
        W, R = (arrays[f"weight_{side}_l{layer}"].T for side in ("ih", "hh"))
        B = np.zeros(self.hidden, W.dtype)
        for side in ("ih", "hh"):
            B = B + arrays.get(f"bias_{side}_l{layer}", 0)
        return {"W": np.ascontiguousarray(W), "R": np.ascontiguousarray(R), "B": B}


def drawable(module: nn.Module) -> nn.Module:
    """The module with stand-ins for what torch's exporter can't draw well; changed in place.

    What ONNX's operators don't have, or what can't be streamed, is left to torch's exporter.
    """
    if _can_be_drawn(module):
        return DrawnRNN(module)
    for name, child in list(module.named_modules(remove_duplicate=False)):
        if _can_be_drawn(child):
            module.set_submodule(name, DrawnRNN(child))
    return module


def _can_be_drawn(module: nn.Module) -> TypeGuard[nn.RNNBase]:
    if not isinstance(module, nn.LSTM | nn.GRU | nn.RNN):
        return False
    return not (module.bidirectional or module.proj_size)
