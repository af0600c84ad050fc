"""The line between a test and a peer: JSON that also holds bytes and arrays, exactly.

Both sides import it, each from its own environment: nothing here but numpy and ml_dtypes. Bytes
are `{"$bytes": base64}`, an array `{"$array": datatype, "shape": ..., ...}` with the protocol's
name of its type: its little-endian bytes, or for BYTES the list of its elements.
"""

import base64
import json
from typing import Any

import ml_dtypes
import numpy as np

DTYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    **{f"{kind}{bits}": np.dtype(f"{kind.lower()}{bits}")
       for kind in ("INT", "UINT") for bits in (8, 16, 32, 64)},
    **{f"FP{bits}": np.dtype(f"float{bits}") for bits in (16, 32, 64)},
    "BF16": np.dtype(ml_dtypes.bfloat16),
}  # fmt: skip
NAMES = {dtype: name for name, dtype in DTYPES.items()}


def write(value: object) -> str:
    """One line without its end. Raises TypeError: neither JSON, nor bytes, nor an array."""
    return json.dumps(value, default=_wrap)


def read(line: str) -> Any:
    """What `write` was given, tuples as lists."""
    return json.loads(line, object_hook=_unwrap)


def _wrap(value: object) -> dict[str, object]:
    if isinstance(value, bytes):
        return {"$bytes": base64.b64encode(value).decode()}
    if not isinstance(value, np.ndarray):
        raise TypeError(f"{type(value).__name__} does not travel")
    if value.dtype == object:
        elements = [each.encode() if isinstance(each, str) else each for each in value.flat]
        return {"$array": "BYTES", "shape": value.shape, "elements": elements}
    return {"$array": NAMES[value.dtype], "shape": value.shape, "raw": value.tobytes()}


def _unwrap(found: dict[str, Any]) -> Any:
    if "$bytes" in found:
        return base64.b64decode(found["$bytes"])
    if "$array" not in found:
        return found
    if found["$array"] != "BYTES":
        flat = np.frombuffer(found["raw"], DTYPES[found["$array"]])
        return flat.reshape(found["shape"]).copy()
    array = np.empty(len(found["elements"]), object)
    array[:] = found["elements"]
    return array.reshape(found["shape"])
