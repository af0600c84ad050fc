"""Text tensors as they travel: each element its length (uint32, little-endian) and its bytes.

The encoding of BYTES in the Open Inference Protocol. onnxruntime takes and gives text alone, so the
bytes have to be UTF-8.
"""

import struct
import sys

import numpy as np

LENGTH = struct.Struct("<I")
MAX_ELEMENTS = 1 << 16
"""Of one tensor of a request: each is looked at, on the loop that is everybody's."""


def unpack(memory: bytes, at_most: int = sys.maxsize) -> list[str]:
    """The elements. Raises ValueError (UnicodeDecodeError too) for bytes that are none, and for
    more elements than `at_most`."""
    elements: list[str] = []
    at, end = 0, len(memory)
    while at < end:
        if len(elements) == at_most:
            raise ValueError(f"more than {at_most} elements")
        if end - at < LENGTH.size:
            raise ValueError("an element's length is cut off")
        (size,) = LENGTH.unpack_from(memory, at)
        at += LENGTH.size
        if end - at < size:
            raise ValueError("an element is cut off")
        elements.append(memory[at : at + size].decode("utf-8"))
        at += size
    return elements


def pack(array: np.ndarray) -> bytes:
    """The elements of an array of text, row-major."""
    pieces: list[bytes] = []
    for element in array.ravel():
        data = str(element).encode("utf-8")
        pieces += (LENGTH.pack(len(data)), data)
    return b"".join(pieces)


def as_array(elements: list[str], shape: tuple[int, ...]) -> np.ndarray:
    """An array of text of that shape; there must be as many elements."""
    array = np.empty(len(elements), object)
    array[:] = elements
    return array.reshape(shape)
