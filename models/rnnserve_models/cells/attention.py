"""A causal Transformer decoder (Vaswani et al. 2017) that attends to the last W steps.

Each layer, with the norm before each branch (Xiong et al. 2020):

    x_t = x_t + W_o attend(norm(x)_t)
    x_t = x_t + W_c GELU(W_e norm(x_t) + b_e) + b_c

A step attends to itself and the W - 1 before it, in a whole sequence as in any chunk of it.  The
carry is the last W keys and values of each layer, oldest first, as k0, v0, k1, v1, ..., and the
number of steps so far as `position` (1,) int64: it tells which of the W there have been yet.

Positions are rotations (Su et al. 2021, RoFormer), of which only differences matter.  A session may
run for ever, and a float32 angle of step 2**31 would be wrong by many turns.  So angles are whole
numbers, 2**24 to a turn, multiplied and cut to one turn in int64: the angle of any step up to 2**63
is exact, and only its cosine and sine are rounded.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from rnnserve_models.cell_options import HEADS, WINDOW_STEPS
from rnnserve_models.cells.protocol import Carry, CarryShape, zeros

TURN = 2**24
"""Units in a whole turn: as many as float32 tells apart."""


class Attention(nn.Module):
    """Decoder layers with a window of W keys and values.  Carry: k0, v0, k1, v1, ..., position.

    Where `hidden` does not divide into heads of an even width, the heads together are wider.

    Args:
        attention_window: W, the steps that a step attends to, itself among them; y_t depends on
            the last 1 + layers (W - 1) steps and on nothing before.
    """

    speeds: Tensor

    def __init__(
        self,
        width: int,
        hidden: int,
        layers: int,
        dropout: float,
        *,
        heads: int = HEADS,
        attention_window: int = WINDOW_STEPS,
    ) -> None:
        super().__init__()
        if heads < 1 or attention_window < 1:
            raise ValueError("attention needs at least one head and a window of one step")
        self.output_width = hidden
        self.window = attention_window
        self.heads = heads
        self.head_width = 2 * math.ceil(hidden / (2 * heads))
        self.into = nn.Linear(width, hidden)
        self.layers = nn.ModuleList(
            Layer(hidden, heads, self.head_width, dropout) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(hidden)
        self.register_buffer("speeds", rotation_speeds(self.head_width), persistent=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Xavier; what goes back into the stream is 1/sqrt(2 layers) as wide (Radford 2019)."""
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            elif parameter.dim() == 2:
                nn.init.xavier_uniform_(parameter)
        with torch.no_grad():
            for layer in self.layers:
                assert isinstance(layer, Layer)
                for back in (layer.attended, layer.contract):
                    back.weight.div_(math.sqrt(2 * len(self.layers)))

    def carry_shapes(self) -> dict[str, CarryShape]:
        rows = CarryShape((self.window, self.heads * self.head_width), self.norm.weight.dtype)
        kept = {f"{letter}{layer}": rows for layer in range(len(self.layers)) for letter in "kv"}
        return {**kept, "position": CarryShape((1,), torch.int64)}

    def initial_carry(self, batch: int) -> Carry:
        return zeros(self.carry_shapes(), batch, self.norm.weight.device)

    def forward(self, carry: Carry, x: Tensor) -> tuple[Carry, Tensor]:
        position, T = carry["position"], x.shape[1]
        steps = position + torch.arange(T, device=x.device)  # (B, T)
        rotation = cosine_and_sine(steps, self.speeds, carry["k0"].dtype)
        visible = self._visible(position, T)  # (B, T, W - 1 + T)
        x = self.into(x).to(carry["k0"].dtype)
        after: Carry = {}
        for layer, run in enumerate(self.layers):
            after[f"k{layer}"], after[f"v{layer}"], x = run(
                carry[f"k{layer}"], carry[f"v{layer}"], x, rotation, visible
            )
        after["position"] = position + T
        return after, self.norm(x)

    def _visible(self, position: Tensor, T: int) -> Tensor:
        """Which keys each step attends to: at most W - 1 back, and none from before the start."""
        past = self.window - 1
        keys = torch.arange(past + T, device=position.device)
        back = torch.arange(past, past + T, device=position.device)[:, None] - keys  # (T, keys)
        in_window = (back >= 0) & (back <= past)
        happened = keys >= past - position  # (B, keys)
        return in_window & happened[:, None]


class Layer(nn.Module):
    """Attention, then a perceptron, each a branch of the stream."""

    def __init__(self, hidden: int, heads: int, head_width: int, dropout: float) -> None:
        super().__init__()
        inner = heads * head_width
        self.heads = heads
        self.norm_attention = nn.LayerNorm(hidden)
        self.queries_keys_values = nn.Linear(hidden, 3 * inner)
        self.attended = nn.Linear(inner, hidden)
        self.norm_perceptron = nn.LayerNorm(hidden)
        self.expand = nn.Linear(hidden, 4 * hidden)
        self.contract = nn.Linear(4 * hidden, hidden)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, k_before: Tensor, v_before: Tensor, x: Tensor, rotation: Rotation, visible: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Run x (B, T, H); return the W newest keys and values (B, W, D) and the new x."""
        T = x.shape[1]
        q, k, v = self.queries_keys_values(self.norm_attention(x)).chunk(3, dim=2)  # (B, T, D)
        q, k = rotated(self._by_head(q), rotation), rotated(self._by_head(k), rotation)
        k = torch.cat([k_before[:, 1:], k.flatten(2)], dim=1)  # (B, W - 1 + T, D)
        v = torch.cat([v_before[:, 1:], v.to(v_before.dtype)], dim=1)
        attended = nn.functional.scaled_dot_product_attention(
            q.transpose(1, 2),
            self._by_head(k).transpose(1, 2),
            self._by_head(v).transpose(1, 2),
            attn_mask=visible[:, None],
        )  # (B, heads, T, D / heads)
        x = x + self.dropout(self.attended(attended.transpose(1, 2).flatten(2)))
        inside = nn.functional.gelu(self.expand(self.norm_perceptron(x)), approximate="tanh")
        x = x + self.dropout(self.contract(inside))
        return k[:, T - 1 :], v[:, T - 1 :], x

    def _by_head(self, array: Tensor) -> Tensor:
        B, steps, width = array.shape
        return array.view(B, steps, self.heads, width // self.heads)  # (B, steps, heads, D / heads)


Rotation = tuple[Tensor, Tensor]
"""Cosine and sine of the angle of each step and pair: (B, T, 1, D / heads / 2)."""


def rotation_speeds(head_width: int) -> Tensor:
    """Units of 2**-24 turn per step, int64, for each pair: 10000**(-2i / head_width) radians."""
    radians = (10_000 ** (-pair / head_width) for pair in range(0, head_width, 2))
    return torch.tensor([round(TURN * angle / (2 * math.pi)) for angle in radians])


def cosine_and_sine(steps: Tensor, speeds: Tensor, dtype: torch.dtype) -> Rotation:
    """Of the angles of steps (B, T) int64."""
    # The remainder first, so that the product stays below 2**48.
    units = (steps % TURN)[:, :, None, None] * speeds % TURN
    angle = units.to(dtype) * (2 * math.pi / TURN)
    return torch.cos(angle), torch.sin(angle)


def rotated(array: Tensor, rotation: Rotation) -> Tensor:
    """Turn each pair (i, i + half) of array (B, T, heads, D / heads) by its angle."""
    cosine, sine = rotation
    a, b = array.to(cosine.dtype).chunk(2, dim=3)
    return torch.cat([a * cosine - b * sine, a * sine + b * cosine], dim=3)
