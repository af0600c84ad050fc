"""Text tensors as they travel: each element its length (uint32, little-endian) and its bytes.

The encoding of BYTES in the Open Inference Protocol. onnxruntime takes and gives text alone, so the
bytes have to be UTF-8.
"""

import struct

import numpy as np

LENGTH = struct.Struct("<I")


def unpack(memory: bytes) -> list[str]:
    """The elements. Raises ValueError (UnicodeDecodeError too) for bytes that are none."""
    elements = []
    at, end = 0, len(memory)
    while at < end:
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
