"""What speaks for an output being the next of an input: names, the graph between them, shapes.

Two questions, each answered as surely as it can be: is the input a state at all, and is this output
what becomes of it? Shape and type only say what is possible; they are never a reason.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from rnnserve_export.foreign.file import Tensor
from rnnserve_export.foreign.flow import Flow
from rnnserve_export.foreign.names import (
    Kinship,
    likeness,
    sounds_like_data,
    sounds_like_layer,
    sounds_like_state,
)

KIN = {Kinship.STEPS: 20_000, Kinship.SIDES: 16_000}
PART_OF_NAME = 6_000
MEMORY, LAST_OF_SEQUENCE, MOVED = 20_000, 8_000, 5_000
DEPENDS, FARTHEST = 1_000, 900
SAME_SHAPE, POSSIBLE = 50, 1
"""Weights, in steps so large that a weaker kind only decides where the stronger ones are even: one
name or one memory, words in common, numbers moved along, nearness in the graph, equal lengths."""


class Sure(IntEnum):
    """How sure something is."""

    GUESS = 1
    LIKELY = 2
    CERTAIN = 3

    def __str__(self) -> str:
        return {1: "a guess", 2: "likely", 3: "certain"}[self]


@dataclass(frozen=True)
class Evidence:
    """What speaks for one possible pair."""

    input: str
    output: str
    weight: int
    """Against other partners."""
    is_state: Sure
    """That the input is a state, should the output be its next."""
    is_next: Sure
    """That the output is its next, should it have no rival."""
    by_name: bool
    """Both are one name, marks aside."""
    by_memory: bool
    """An operator's memory goes in as one and comes out as the other."""
    is_firm: bool
    """Whether it holds even where nothing would be left to be data."""
    why: tuple[str, ...]

    def is_denied_by(self, rival: "Evidence") -> bool:
        """Whether the name says one thing and the graph the opposite."""
        return (self.by_name and rival.by_memory and not self.by_memory) or (
            self.by_memory and rival.by_name and not self.by_name
        )


def possible(one: Tensor, other: Tensor) -> bool:
    """Whether an output could be the next of an input: same type, and dimensions that can agree."""
    if one.dtype is None or one.dtype != other.dtype or one.dims is None:
        return False
    if other.dims is None:
        return True
    return len(one.dims) == len(other.dims) and all(
        isinstance(a, str) or isinstance(b, str) or a == b
        for a, b in zip(one.dims, other.dims, strict=True)
    )


def is_worth_a_thought(one: Tensor, other: Tensor, flow: Flow) -> bool:
    """Whether anything but shape and type speaks for a possible pair, or nothing against it: where
    one of both is data by its name, shape and type are no reason."""
    ends = (one.name, other.name)
    by_name = likeness(*ends).kinship is not Kinship.NONE
    is_data = sounds_like_data(one.name) or sounds_like_data(other.name)
    return by_name or ends in flow.memories or not is_data


def evidence(one: Tensor, other: Tensor, flow: Flow) -> Evidence:
    """What speaks for the output `other` being the next of the input `one`; `possible` already."""
    ends = (one.name, other.name)
    names = likeness(*ends)
    memory = flow.memories.get(ends)
    weight = KIN.get(names.kinship, int(PART_OF_NAME * names.share)) + POSSIBLE
    weight += SAME_SHAPE if one.dims == other.dims else 0
    if memory is not None:
        weight += MEMORY if memory.is_whole else LAST_OF_SEQUENCE
    if ends in flow.moved:
        weight += MOVED
    if ends in flow.far:
        weight += DEPENDS - min(flow.far[ends], FARTHEST)
    is_whole = memory is not None and memory.is_whole
    same_name = names.kinship >= Kinship.SIDES
    return Evidence(
        *ends,
        weight,
        is_state=_is_state(one, other, flow),
        is_next=_is_next(is_whole or same_name, ends in flow.far, names.kinship),
        by_name=same_name,
        by_memory=is_whole,
        is_firm=is_whole or sounds_like_state(one.name),
        why=tuple(_reasons(one, other, flow)),
    )


def _is_state(one: Tensor, other: Tensor, flow: Flow) -> Sure:
    ends = (one.name, other.name)
    kinship = likeness(*ends).kinship
    memory = flow.memories.get(ends)
    if kinship is Kinship.STEPS or (memory is not None and memory.is_whole):
        return Sure.CERTAIN
    if memory is not None or ends in flow.moved or sounds_like_state(one.name):
        return Sure.LIKELY
    if kinship is Kinship.SIDES and not (sounds_like_data(one.name) or sounds_like_layer(one.name)):
        return Sure.LIKELY
    if sounds_like_state(other.name) and ends in flow.far:
        return Sure.LIKELY
    return Sure.GUESS


def _is_next(is_told: bool, depends: bool, kinship: Kinship) -> Sure:
    if is_told:
        return Sure.CERTAIN
    return Sure.LIKELY if depends or kinship is Kinship.PARTLY else Sure.GUESS


def _reasons(one: Tensor, other: Tensor, flow: Flow) -> Iterator[str]:
    ends = (one.name, other.name)
    memory = flow.memories.get(ends)
    if memory is not None:
        yield memory.way
    match likeness(*ends).kinship:
        case Kinship.STEPS:
            yield "one name, before and after a step"
        case Kinship.SIDES:
            yield "one name, on the way in and out"
        case Kinship.PARTLY:
            yield "their names have words in common"
        case Kinship.NONE:
            if sounds_like_state(one.name):
                yield f"{one.name} is a state by its name"
            elif sounds_like_state(other.name):
                yield f"{other.name} is a state by its name"
    if ends in flow.moved:
        yield "the output has numbers of the input, moved along"
    if ends not in flow.far:
        yield "the output isn't computed from the input"
