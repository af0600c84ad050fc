"""What the names of an input and an output say: whether one is the next of the other.

Names differ by habit and not by rule (`h0` and `hn`, `cache_x` and `new_cache_x`, `stateN`). A name
is cut into words; what two names have in common is the thing, and what they don't should be marks
of before (`past`, `in`, `0`) on one side and of after (`present`, `out`, `n`) on the other.
"""

import re
from collections import Counter
from dataclasses import dataclass
from enum import IntEnum
from functools import cache

Words = tuple[str, ...]


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


IN_MARKS = _set("in input inp i current cur")
OUT_MARKS = _set("out output outp o current cur")
"""Which side of the graph something is on; data has them too (`audio_in`, `audio_out`)."""
BEFORE = _set("prev previous past old last init initial begin before 0")
AFTER = _set("next new present n r updated update final last after latest returned")
"""Which side of a step it is on; data hardly ever has them."""
FIRMLY_BEFORE = BEFORE - {"last", "0"}
FIRMLY_AFTER = AFTER - {"last", "n", "r"}
SIDE_MARKS = IN_MARKS | OUT_MARKS
MARKS = SIDE_MARKS | BEFORE | AFTER
STATE_WORDS = _set(
    "h c hidden cell state cache cached mem memory buffer buf carry history hist recurrent ssm kv"
)
"""What is called so is kept from step to step."""
DATA_WORDS = _set(
    "audio wav wave waveform pcm signal speech sound mic noisy clean enhanced frame spec mel stft "
    "fbank feature feat image img video text token id label logit prob obs action"
)
"""What is called so, and nothing more, is given or taken at every step."""
LAYER_WORDS = _set("rnn lstm gru net model encoder decoder layer")
"""What goes in and out of one of these may be anything."""
CONSTANT_WORDS = _set(
    "sr fs samplerate rate hz temperature threshold thresh alpha beta gamma eps epsilon gain scale "
    "strength speed hop atten lim"
)
"""A single number that is called so is the same at every step."""

_PIECE = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|[0-9]+")
_JOINED = re.compile(
    r"(h|c|hidden|state|cell|cache|mem|buf|buffer)(in|out|next|new|prev|n|x|y|t)(?![a-z])"
)
_PHRASES = {("past", "key", "value"): ("past",), ("present", "key", "value"): ("present",)}


class Kinship(IntEnum):
    """How two names go together."""

    NONE = 0
    """They have no word in common."""
    PARTLY = 1
    """They have a word in common and differ in others."""
    SIDES = 2
    """They differ in nothing but the side of the graph (`x_in`, `x_out`)."""
    STEPS = 3
    """They differ in nothing but the side of a step (`x`, `x_next`), or are a state's by name."""


@dataclass(frozen=True)
class Likeness:
    """What two names have in common."""

    kinship: Kinship
    share: float
    """Of the words that count, those that both have: 0 to 1."""


def likeness(input_name: str, output_name: str) -> Likeness:
    """How the name of an input goes together with that of an output."""
    given, taken = words_of(input_name), words_of(output_name)
    common = Counter(given) & Counter(taken)
    before, after = set(Counter(given) - common), set(Counter(taken) - common)
    thing = {word for word in common if not word.isdigit()} - SIDE_MARKS
    same_numbers = _numbers(given, common) == _numbers(taken, common)
    if same_numbers and (thing or (before & FIRMLY_BEFORE and after & FIRMLY_AFTER)):
        if before <= BEFORE and after <= AFTER and (before or after):
            return Likeness(Kinship.STEPS, 1.0)
        if before <= BEFORE | IN_MARKS and after <= AFTER | OUT_MARKS:
            is_state = not STATE_WORDS.isdisjoint(thing)
            return Likeness(Kinship.STEPS if is_state else Kinship.SIDES, 1.0)
    if not thing:
        return Likeness(Kinship.NONE, 0.0)
    both = 2 * common.total()
    others = len(before - MARKS) + len(after - MARKS)
    return Likeness(Kinship.PARTLY, both / (both + max(1, others)))


def sounds_like_state(name: str) -> bool:
    """Whether a word of it is one for things that are kept, or for what was before."""
    return not (STATE_WORDS | FIRMLY_BEFORE).isdisjoint(words_of(name))


def sounds_like_data(name: str) -> bool:
    """Whether it is a name for things that are given or taken at every step, and no state's."""
    words = words_of(name)
    plain = bool(words) and set(words) <= SIDE_MARKS | {"x", "y"}
    return (plain or not DATA_WORDS.isdisjoint(words)) and not sounds_like_state(name)


def sounds_like_layer(name: str) -> bool:
    """Whether it is called after a part of the network, and by nothing that is kept."""
    return not LAYER_WORDS.isdisjoint(words_of(name)) and not sounds_like_state(name)


def sounds_like_constant(name: str) -> bool:
    """Whether a word of it is one for numbers that stay the same."""
    return not CONSTANT_WORDS.isdisjoint(words_of(name))


@cache
def words_of(name: str) -> Words:
    """The words of a name, in small letters and without plural; numbers without leading zeros."""
    words: list[str] = []
    for piece in _PIECE.findall(name):
        word = piece.lower()
        if word.isdigit():
            words.append(str(int(word)))
        elif joined := _JOINED.fullmatch(word):
            words += [joined[1], _side(joined[2])]
        else:
            words.append(word.removesuffix("s") if len(word) > 3 else word)
    for phrase, short in _PHRASES.items():
        if tuple(words[: len(phrase)]) == phrase:
            words[: len(phrase)] = short
    return tuple(words)


def _side(mark: str) -> str:
    """`hx` is what goes in and `hy` what comes out, as in PyTorch."""
    return {"x": "in", "y": "out", "t": "current"}.get(mark, mark)


def _numbers(words: Words, common: Counter[str]) -> list[str]:
    """The numbers that both have, in the order of one."""
    left, found = Counter(common), []
    for word in words:
        if word.isdigit() and left[word]:
            left[word] -= 1
            found.append(word)
    return found
