"""torch's own LSTM, GRU and RNN modules as operators of a graph.

torch's exporter unrolls them or loops, freezes their length in the shapes that it writes down, and
cuts their weights out of others. So in the copy of a module that is drawn, each of them computes
by layers of ONNX's operators, whose weights stand ready as constants. The plain RNN becomes a Scan
of one product and its activation (`export/EXPERIMENTS.md` has why).
"""

from collections.abc import Callable
from functools import partial
from typing import Any

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


def drawable(module: nn.Module) -> nn.Module:
    """The module, changed in place: what torch's exporter can't draw well computes otherwise.

    Its attributes and parameters stay as they are, since the module may ask for them. What ONNX's
    operators don't have, or what can't be streamed, is left to torch's exporter.
    """
    for net in list(module.modules()):
        if isinstance(net, nn.LSTM | nn.GRU | nn.RNN) and not (net.bidirectional or net.proj_size):
            for layer in range(net.num_layers):
                for name, array in _weights(net, layer).items():
                    net.register_buffer(_buffer(name, layer), torch.from_numpy(array))
            net.forward = partial(_forward, net)
    return module


def _forward(net: nn.RNNBase, input: Tensor, hx: State | None = None) -> tuple[Tensor, State]:
    """Called as torch's own, by position or by name: input (N, T, F) or (T, N, F), and what goes in
    and comes out as hx, each (layers, N, H)."""
    x = input.transpose(0, 1) if net.batch_first else input
    before = _before(net, x, hx)
    after = []
    for layer in range(net.num_layers):
        x, *carry = _layer(net, layer, x, [array[layer] for array in before])
        after.append(carry)
    x = x.transpose(0, 1) if net.batch_first else x
    first, *second = (torch.stack(arrays) for arrays in zip(*after, strict=True))
    return x, (first, *second) if second else first


def _before(net: nn.RNNBase, x: Tensor, hx: State | None) -> list[Tensor]:
    if hx is None:
        zeros = x.new_zeros(net.num_layers, x.shape[1], net.hidden_size)
        return [zeros, zeros] if isinstance(net, nn.LSTM) else [zeros]
    return [hx] if isinstance(hx, Tensor) else list(hx)


def _layer(net: nn.RNNBase, layer: int, x: Tensor, carry: list[Tensor]) -> tuple[Tensor, ...]:
    W, R, B = (net.get_buffer(_buffer(name, layer)) for name in "WRB")
    if isinstance(net, nn.LSTM):
        return torch.ops.rnnserve.lstm_layer(x, *carry, W, R, B)
    if isinstance(net, nn.GRU):
        return torch.ops.rnnserve.gru_layer(x, *carry, W, R, B)
    activate = torch.relu if net.nonlinearity == "relu" else torch.tanh

    def step(h: Tensor, drive: Tensor) -> tuple[Tensor, Tensor]:
        h = activate(torch.addmm(drive, h, R))
        return h, h.clone()

    h, y = scan(step, carry[0], x @ W + B, dim=0)
    return y, h


def _weights(net: nn.RNNBase, layer: int) -> dict[str, np.ndarray]:
    """W, R and B of a layer, as its operator wants them."""
    arrays = {name: array.detach().numpy() for name, array in net.named_parameters()}
    if isinstance(net, nn.LSTM | nn.GRU):
        return packed_layer(arrays, layer, LSTM_GATES if isinstance(net, nn.LSTM) else GRU_GATES)
    W, R = (arrays[f"weight_{side}_l{layer}"].T for side in ("ih", "hh"))
    B = np.zeros(net.hidden_size, W.dtype)
    for side in ("ih", "hh"):
        B = B + arrays.get(f"bias_{side}_l{layer}", 0)
    return {"W": np.ascontiguousarray(W), "R": np.ascontiguousarray(R), "B": B}


def _buffer(name: str, layer: int) -> str:
    return f"drawn_{name}{layer}"
