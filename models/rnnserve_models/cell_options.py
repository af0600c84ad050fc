"""What single cells take beyond width, hidden, layers and dropout: names, defaults, whose they are.

Without torch: a page of help or a wrong option does not wait for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

KERNEL = 7
"""Taps of a convolution, as in most tasks of Bai et al. 2018."""
HEADS = 4
"""Heads of an attention layer."""
WINDOW_STEPS = 128
"""Steps that an attention layer looks back on, the present one among them."""

OWN_OPTIONS: dict[str, dict[str, int]] = {
    "tcn": {"kernel": KERNEL},
    "attention": {"heads": HEADS, "attention_window": WINDOW_STEPS},
}
"""By cell: the keywords of its constructor, and their defaults."""


def misplaced(cell: str, values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Options that differ from their default and belong to another cell, each with that cell."""
    return [
        (name, owner)
        for owner, options in OWN_OPTIONS.items()
        for name, default in options.items()
        if owner != cell and values[name] != default
    ]
