"""A tensor's elements between JSON and the protocol's bytes (little-endian, row-major).

JSON has no NaN and no infinity. In both directions they are the strings "NaN", "Infinity" and
"-Infinity", as in protobuf's own JSON: replies stay JSON for every reader, nothing is lost, and
what came from a reply can be sent again. (Triton writes the bare words, which browsers and strict
parsers don't read.) numpy makes the same numbers of those strings.

FP16 and BF16 are taken as bytes alone, as by Triton; a reply has FP16 as numbers where no bytes
were asked for, since the step has been taken by then.
"""

import json
import math
from collections.abc import Iterator, Sequence
from typing import TypeVar, cast

import numpy as np

from rnnserve.errors import Reason, Refusal
from rnnserve.repository import strings
from rnnserve.repository.dtypes import NUMPY_DTYPES
from rnnserve.wire.http.document import kind_of, malformed
from rnnserve.wire.inference.datatypes import NAMES

T = TypeVar("T")

NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
BYTES = "BYTES"
ONLY_BINARY = ("FP16", "BF16")
DTYPES = {NAMES[number]: dtype for number, dtype in NUMPY_DTYPES.items() if dtype.kind != "O"}
SLICE = 2048
"""Elements that are written at a time: about 2 ms."""


def pack(name: str, datatype: str, shape: Sequence[int], data: list[object]) -> bytes:
    """The bytes of a tensor that came as a list: its elements one after the other, or nested as the
    shape says. That they are as many as the shape says is left to whoever looks at the bytes.

    Raises Refusal: malformed, wrong_dtype, wrong_shape, value_out_of_range.
    """
    elements = _flat(name, shape, data)
    if datatype == BYTES:
        texts = _of_kind(name, elements, str)
        return strings.pack(strings.as_array(texts, (len(texts),)))
    if datatype in ONLY_BINARY:
        raise Refusal(
            Reason.WRONG_DTYPE,
            f"{name}: {datatype} doesn't travel in JSON; send it as binary data (binary_data_size)",
        )
    dtype = DTYPES.get(datatype)
    if dtype is None:
        raise Refusal(
            Reason.WRONG_DTYPE,
            f"{name}: there is no datatype {datatype[:80]!r}; there are {', '.join(DTYPES)}, "
            f"{BYTES}",
        )
    if dtype.kind == "f":
        return _floats(name, datatype, elements)
    kind = bool if dtype.kind == "b" else int
    try:
        return np.array(_of_kind(name, elements, kind), dtype).tobytes()
    except OverflowError:
        raise _out_of_range(name, datatype) from None


def elements(datatype: str, memory: bytes) -> Iterator[str]:
    """The elements of a tensor as JSON, without brackets, a slice at a time."""
    if datatype == BYTES:
        texts = strings.unpack(memory)
        for start in range(0, len(texts), SLICE):
            yield json.dumps(texts[start : start + SLICE])[1:-1]
        return
    array = np.frombuffer(memory, DTYPES[datatype])
    for start in range(0, len(array), SLICE):
        yield json.dumps(_writable(array[start : start + SLICE]))[1:-1]


def _flat(name: str, shape: Sequence[int], data: list[object]) -> list[object]:
    """The elements in order. Lists in lists must be nested as the shape says: read on regardless,
    [[1, 2, 3], [4, 5, 6]] would be taken for the rows of (3, 2)."""
    if not any(type(element) is list for element in data):
        return data
    level: list[object] = [data]
    for size in shape:
        deeper: list[object] = []
        for part in level:
            if type(part) is not list or len(part) != size:
                raise _wrong_nesting(name, shape)
            deeper += part
        level = deeper
    if any(type(element) is list for element in level):
        raise _wrong_nesting(name, shape)
    return level


def _of_kind(name: str, elements: list[object], kind: type[T]) -> list[T]:
    # Exactly: to isinstance, true is an integer.
    if set(map(type, elements)) <= {kind}:
        return cast("list[T]", elements)
    wrong = next(element for element in elements if type(element) is not kind)
    wanted = {str: "strings", bool: "true or false", int: "integers"}[kind]
    raise malformed(f"'data' of {name} has {kind_of(wrong)} in it; it must be {wanted}")


def _floats(name: str, datatype: str, elements: list[object]) -> bytes:
    words: dict[int, float] = {}
    numbers = elements
    if not set(map(type, elements)) <= {int, float}:
        words = {at: _word(name, one) for at, one in enumerate(elements) if not _is_number(one)}
        numbers = [0.0 if at in words else one for at, one in enumerate(elements)]
    try:
        with np.errstate(over="ignore"):
            array = np.array(numbers, np.float64).astype(DTYPES[datatype])
    except OverflowError:
        raise _out_of_range(name, datatype) from None
    # As 1e999 isn't: it comes out of JSON as infinity.
    if not np.isfinite(array).all():
        raise _out_of_range(name, datatype)
    for at, value in words.items():
        array[at] = value
    return array.tobytes()


def _is_number(element: object) -> bool:
    return type(element) in (int, float)


def _word(name: str, element: object) -> float:
    if isinstance(element, str) and element in NOT_FINITE:
        return NOT_FINITE[element]
    what = f"the string {element[:20]!r}" if isinstance(element, str) else kind_of(element)
    raise malformed(
        f"'data' of {name} has {what} in it; it must be numbers, "
        f"or the strings {', '.join(NOT_FINITE)}"
    )


def _writable(array: np.ndarray) -> list[object]:
    values: list[object] = array.tolist()
    if array.dtype.kind != "f":
        return values
    for at in np.flatnonzero(~np.isfinite(array)):
        value = array[at]
        values[at] = "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return values


def _wrong_nesting(name: str, shape: Sequence[int]) -> Refusal:
    return Refusal(
        Reason.WRONG_SHAPE,
        f"'data' of {name} is not nested as its shape {list(shape)} says; "
        "nest it so, or not at all",
    )


def _out_of_range(name: str, datatype: str) -> Refusal:
    return Refusal(
        Reason.VALUE_OUT_OF_RANGE, f"'data' of {name} has a number that {datatype} can't hold"
    )
