"""JSON from outside, read strictly: UTF-8, one object, no name twice, no NaN, no half characters.

Whatever is wrong is refused (malformed) with a sentence that says where. A field of another type
than it should have is not converted, and one that nobody knows is not overlooked: a misspelt
`parameters` would otherwise start no sequence, and say nothing.
"""

import json
import math
from collections.abc import Mapping, Sequence
from typing import NoReturn, TypeVar

from rnnserve.errors import Reason, Refusal

T = TypeVar("T")

MAX_JSON_BYTES = 1 << 20
"""Of one document. Reading one takes Python's lock, and with it everybody's time: up to 45 ms at
once for so many bytes. Tensors can travel beside it as bytes."""
INT64_END, UINT64_END = 1 << 63, 1 << 64

_KINDS = {
    dict: "an object",
    list: "a list",
    str: "a string",
    bool: "true or false",
    int: "an integer",
    float: "a number",
    type(None): "null",
}


def malformed(sentence: str) -> Refusal:
    return Refusal(Reason.MALFORMED, sentence)


def read(data: bytes) -> dict[str, object]:
    """The object that the bytes are. Raises Refusal: malformed, frame_too_large."""
    if len(data) > MAX_JSON_BYTES:
        raise Refusal(
            Reason.FRAME_TOO_LARGE,
            f"{len(data)} bytes of JSON; at most {MAX_JSON_BYTES}: "
            "send tensors as binary data behind it",
            limit=MAX_JSON_BYTES,
        )
    try:
        text = data.decode("utf-8")
        found = json.loads(text, object_pairs_hook=_object, parse_constant=_refuse_constant)
        if "\\u" in text:
            # Escapes can spell halves of characters, which nothing behind here could carry.
            json.dumps(found, ensure_ascii=False).encode("utf-8")
    except json.JSONDecodeError as error:
        raise malformed(f"the body is not JSON: {error}") from None
    except UnicodeDecodeError as error:
        raise malformed(f"the body is not UTF-8 from byte {error.start} on") from None
    except UnicodeEncodeError:
        raise malformed("a string of the body escapes half of a surrogate pair") from None
    except RecursionError:
        raise malformed("the body is nested too deeply") from None
    except ValueError:
        raise malformed("the body has an integer of thousands of digits") from None
    if not isinstance(found, dict):
        raise malformed(f"the body is {kind_of(found)}; it must be an object")
    return found


def kind_of(value: object) -> str:
    """What a value is, in JSON's words."""
    return _KINDS[type(value)]


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise malformed(f"an object of the body has the name {name[:80]!r} twice")
            seen.add(name)
    return found


def _refuse_constant(word: str) -> NoReturn:
    raise malformed(f"{word} is not JSON; as an element of a tensor it is written as a string")


def _as_float(value: int) -> float:
    """Infinite, as 1e400 is, where it is too large for one."""
    try:
        return float(value)
    except OverflowError:
        return math.inf


class Fields:
    """An object of the document, from which fields are taken; `done` says that there are no more.

    Every method raises Refusal (malformed).
    """

    def __init__(self, values: Mapping[str, object], name: str) -> None:
        """`name` is what sentences call the object."""
        self._left = dict(values)
        self.name = name

    def __contains__(self, key: str) -> bool:
        return key in self._left

    def holds(self, key: str, kind: type) -> bool:
        """Whether there is a field of that name and exactly that type."""
        return type(self._left.get(key)) is kind

    def need(self, key: str, kind: type[T]) -> T:
        """A field that must be there, of exactly this type; float takes any number."""
        if key not in self._left:
            raise malformed(f"{self.name} has no {key!r}")
        value = self._left.pop(key)
        if kind is float and type(value) is int:
            value = _as_float(value)
        if type(value) is not kind:
            raise self._wrong(key, kind_of(value), _KINDS[kind])
        return value

    def take(self, key: str, kind: type[T], otherwise: T) -> T:
        """A field that may be missing."""
        return self.need(key, kind) if key in self._left else otherwise

    def integer(self, key: str, low: int, high: int) -> int:
        """An integer that must be there, from `low` up to and without `high`."""
        value = self.need(key, int)
        if not low <= value < high:
            raise self._wrong(key, "out of range", f"{low} to {high - 1}")
        return value

    def integers(self, key: str, low: int, high: int) -> list[int]:
        """A list of integers that must be there."""
        values = self.need(key, list)
        for value in values:
            if type(value) is not int:
                raise self._wrong(key, f"a list with {kind_of(value)} in it", "a list of integers")
            if not low <= value < high:
                raise self._wrong(key, "a list with a number out of range", f"{low} to {high - 1}")
        return values

    def texts(self, key: str) -> list[str]:
        """A list of strings that must be there."""
        values = self.need(key, list)
        for value in values:
            if type(value) is not str:
                raise self._wrong(key, f"a list with {kind_of(value)} in it", "a list of strings")
        return values

    def inner(self, key: str) -> "Fields":
        """The object of this name, empty where it is missing."""
        return Fields(self.take(key, dict, {}), f"{key!r} of {self.name}")

    def each(self, key: str, single: str) -> "Sequence[Fields]":
        """The objects of a list, none where it is missing; called `single` and their places."""
        found = []
        for place, value in enumerate(self.take(key, list, [])):
            if type(value) is not dict:
                raise malformed(f"{single} {place} is {kind_of(value)}; it must be an object")
            found.append(Fields(value, f"{single} {place}"))
        return found

    def rest(self) -> dict[str, object]:
        """All that was not taken."""
        left, self._left = self._left, {}
        return left

    def done(self) -> None:
        """Refuse what was not taken."""
        for key in self._left:
            raise malformed(f"{self.name} has a field {key[:80]!r}, which means nothing here")

    def _wrong(self, key: str, found: str, wanted: str) -> Refusal:
        return malformed(f"{key!r} of {self.name} is {found}; it must be {wanted}")
