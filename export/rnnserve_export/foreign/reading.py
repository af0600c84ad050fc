"""What an ONNX file is taken for: which input is what, what becomes of what, and what is open."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from functools import cached_property

from rnnserve_export.foreign.axes import Rows, Time, find_rows, find_time, is_batch, without_rows
from rnnserve_export.foreign.errors import BadHint
from rnnserve_export.foreign.evidence import Sure
from rnnserve_export.foreign.file import ForeignFile, Tensor
from rnnserve_export.foreign.flow import trace
from rnnserve_export.foreign.hints import Hints
from rnnserve_export.foreign.names import STATE_WORDS, sounds_like_constant, words_of
from rnnserve_export.foreign.pairing import Pair, find_pairs

SAID = "you said so"


class Role(Enum):
    """What an input is for."""

    DATA = "data"
    """It comes with every step."""
    STATE = "state"
    """It is what an output was at the step before."""
    CONSTANT = "constant"
    """It is the same on every run."""
    ONCE = "set once"
    """A session sets it at its beginning."""


@dataclass(frozen=True)
class Reading:
    """One way to serve the file. `questions` says what of it is not known."""

    file: ForeignFile
    hints: Hints
    roles: Mapping[str, Role]
    """Of every input, by name."""
    pairs: tuple[Pair, ...]
    rows: Rows
    time: Time
    ranges: Mapping[str, int]
    """Of inputs that choose rows of a table, how many it has."""

    def inputs_that_are(self, *roles: Role) -> list[Tensor]:
        """In the file's order."""
        return [tensor for tensor in self.file.inputs if self.roles[tensor.name] in roles]

    @property
    def results(self) -> list[Tensor]:
        """The outputs that clients get."""
        return _results(self.file, self.pairs)

    @cached_property
    def questions(self) -> tuple[str, ...]:
        """What has to be known before this can be served; each names the option that tells it."""
        return tuple(self._questions())

    def _questions(self) -> Iterator[str]:
        for pair in self.pairs:
            if pair.sure is Sure.GUESS:
                yield (
                    f"whether {pair.output!r} is the next of the state {pair.input!r} is only a "
                    f"guess: say --state {pair.input}:{pair.output} if it is, another --state if "
                    f"it isn't, or --data {pair.input} if it is no state"
                )
        for tensor in self.inputs_that_are(Role.CONSTANT):
            if tensor.name not in self.hints.constants:
                yield (
                    f"{tensor.name!r} is one number for all runs, by its name: say what it is with "
                    f"--constant {tensor.name}={example(tensor)}, or --data {tensor.name} if it "
                    "comes with every step"
                )
        for tensor in self.inputs_that_are(Role.DATA):
            if tensor.name not in self.hints.data and STATE_WORDS & set(words_of(tensor.name)):
                yield (
                    f"{tensor.name!r} is a state by its name, and no output can be its next one: "
                    f"say --state {tensor.name}:OUT, --once {tensor.name} if a session sets it at "
                    f"its beginning, or --data {tensor.name} if it comes with every step"
                )
        for tensor in self.inputs_that_are(Role.ONCE):
            if any(isinstance(dim, str) for dim in without_rows(tensor, self.rows)):
                yield (
                    f"{tensor} is set once and must have a fixed size: say --dims "
                    f"{tensor.name}=LENGTH"
                )
        if not self.inputs_that_are(Role.DATA):
            yield "no input is left that a client would give: say --data NAME of one"
        if self.rows.question:
            yield self.rows.question


def read(file: ForeignFile, hints: Hints) -> Reading:
    """Decide what can be decided from the file and from what is said of it."""
    flow = trace(file.model, [tensor.name for tensor in file.inputs])
    roles = _told(file, hints)
    pairs = [Pair(one, other, Sure.CERTAIN, (SAID,)) for one, other in hints.states.items()]
    pairs += find_pairs(
        [tensor for tensor in file.inputs if tensor.name not in roles],
        [tensor for tensor in file.outputs if tensor.name not in hints.states.values()],
        flow,
        other_data=len(hints.data),
    )
    roles |= {pair.input: Role.STATE for pair in pairs}
    roles = {tensor.name: roles.get(tensor.name, Role.DATA) for tensor in file.inputs}
    order = {tensor.name: place for place, tensor in enumerate(file.inputs)}
    pairs.sort(key=lambda pair: order[pair.input])
    nexts = {pair.input: pair.output for pair in pairs}
    data, kept = _by_use(file, roles)
    rows = find_rows(data, kept, file.outputs, nexts, hints.batch_axes) if data else Rows()
    file = replace(file, inputs=tuple(_pinned(tensor, rows, hints) for tensor in file.inputs))
    data, kept = _by_use(file, roles)
    return Reading(
        file,
        hints,
        roles,
        tuple(pairs),
        rows,
        find_time(data, _results(file, pairs), kept, rows),
        {name: size for name, size in flow.rows_of_table.items() if roles[name] is Role.DATA},
    )


def _by_use(file: ForeignFile, roles: Mapping[str, Role]) -> tuple[list[Tensor], list[Tensor]]:
    """The inputs that come with every step, and those that a session keeps."""
    data = [tensor for tensor in file.inputs if roles[tensor.name] is Role.DATA]
    return data, [t for t in file.inputs if roles[t.name] in (Role.STATE, Role.ONCE)]


def _pinned(tensor: Tensor, rows: Rows, hints: Hints) -> Tensor:
    """With lengths for the free axes that have one. Raises BadHint: not as many as there are."""
    dims = list(tensor.dims or ())
    if not rows:
        dims = [1 if is_batch(dim) else dim for dim in dims]
    if tensor.name in hints.dims:
        lengths = hints.dims[tensor.name]
        free = [axis for axis in tensor.free_axes if axis != rows.axes.get(tensor.name)]
        if len(free) != len(lengths):
            raise BadHint(
                f"--dims {tensor.name}={list(lengths)}: {tensor} has {len(free)} free axes that "
                "are no rows"
            )
        for axis, length in zip(free, lengths, strict=True):
            dims[axis] = length
    return replace(tensor, dims=None if tensor.dims is None else tuple(dims))


def _results(file: ForeignFile, pairs: Iterable[Pair]) -> list[Tensor]:
    """Those that are no state's next one; all of them if every one is."""
    nexts = {pair.output for pair in pairs}
    return [tensor for tensor in file.outputs if tensor.name not in nexts] or list(file.outputs)


def example(tensor: Tensor) -> str:
    """A value of that kind, for a sentence that asks for one."""
    if {"sr", "fs", "rate", "samplerate"} & set(words_of(tensor.name)):
        return "16000"
    return "VALUE"


def _told(file: ForeignFile, hints: Hints) -> dict[str, Role]:
    """What the person says, and constants by their names."""
    roles = dict.fromkeys(hints.states, Role.STATE)
    roles |= dict.fromkeys(hints.constants, Role.CONSTANT)
    roles |= dict.fromkeys(hints.once, Role.ONCE)
    roles |= dict.fromkeys(hints.data, Role.DATA)
    for tensor in file.inputs:
        is_one_number = tensor.dims is not None and all(dim == 1 for dim in tensor.dims)
        if is_one_number and tensor.name not in roles and sounds_like_constant(tensor.name):
            roles[tensor.name] = Role.CONSTANT
    return roles
