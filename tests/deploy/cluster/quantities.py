"""Kubernetes' quantities as numbers."""

import re

SUFFIXES = {
    "": 1.0,
    "m": 1e-3,
    **{letter: 1e3**power for power, letter in enumerate("kMGT", 1)},
    **{letter + "i": 1024.0**power for power, letter in enumerate("KMGT", 1)},
}


def quantity(text: str) -> float:
    """`25m` is 0.025, `1Gi` is 2**30. Raises ValueError."""
    found = re.fullmatch(r"([0-9.]+)([a-zA-Z]*)", text)
    if found is None or found[2] not in SUFFIXES:
        raise ValueError(f"{text!r} is no quantity")
    return float(found[1]) * SUFFIXES[found[2]]
