"""How each output of a graph is computed from each of its inputs.

Every value has a trail: how far it is from each input (the cheapest way, by `operators.cost`), and
whose numbers it holds unchanged. One walk through the graph in its own order, into the branches and
bodies inside it.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count

import numpy as np
import onnx

from rnnserve_export.foreign.operators import (
    MEMORIES,
    MIX,
    MOVE,
    MOVERS,
    SEQUENCE_CELLS,
    cost,
)


@dataclass(frozen=True)
class Memory:
    """One memory of an operator: what goes in at its beginning comes out at its end."""

    number: int
    way: str
    """For people: `initial_h -> Y_h of the GRU 'gru_1'`."""
    is_whole: bool = True
    """False: seen at the operator's other output, of which the memory is the last step."""


@dataclass(frozen=True)
class _Computed:
    """Numbers that no input had."""


COMPUTED = _Computed()
Held = frozenset[str | Memory | _Computed]


@dataclass(frozen=True, eq=False)
class Trail:
    """Where a value comes from."""

    far: np.ndarray  # (I,): from each input; infinite where it doesn't depend on it
    held: Held = frozenset()
    """Inputs and memories whose numbers it has, moved at the most."""


@dataclass(frozen=True)
class Flow:
    """What follows for a graph's inputs and outputs, by name."""

    far: Mapping[tuple[str, str], int]
    """From an input to an output, where that depends on it."""
    moved: frozenset[tuple[str, str]]
    """The output has numbers of that input, moved along, beside others."""
    memories: Mapping[tuple[str, str], Memory]
    """The output is what a memory became that began as that input."""
    rows_of_table: Mapping[str, int]
    """Inputs whose numbers choose rows of a constant table, and how many it has."""


@dataclass
class _Scope:
    """Names to trails; a graph inside another one sees those around it."""

    trails: dict[str, Trail]
    around: "_Scope | None" = None

    def find(self, name: str, otherwise: Trail) -> Trail:
        scope: _Scope | None = self
        while scope is not None:
            if name in scope.trails:
                return scope.trails[name]
            scope = scope.around
        return otherwise


@dataclass
class _Walk:
    """What is found on the way."""

    names: list[str]
    begins: list[tuple[Memory, frozenset[str]]] = field(default_factory=list)
    """Memories, and the inputs that they begin as."""
    tables: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    numbers: Iterator[int] = field(default_factory=count)

    def __post_init__(self) -> None:
        self.nothing = Trail(np.full(len(self.names), np.inf))
        """Of constants."""

    def graph(self, graph: onnx.GraphProto, scope: _Scope) -> list[Trail]:
        """The trails of its outputs."""
        sizes = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
        for name in sizes:
            scope.trails.setdefault(name, self.nothing)
        for node in graph.node:
            if node.op_type == "Constant":
                sizes |= dict.fromkeys(node.output, _constant_dims(node))
            self._table(node, sizes, scope)
            for name, trail in zip(node.output, self._node(node, scope), strict=True):
                scope.trails[name] = trail
        return [scope.find(entry.name, self.nothing) for entry in graph.output]

    def _node(self, node: onnx.NodeProto, scope: _Scope) -> list[Trail]:
        given = [scope.find(name, self.nothing) for name in node.input]
        inner = {a.name: a.g for a in node.attribute if a.HasField("g")}
        if node.op_type == "If":
            branches = [self.graph(graph, _Scope({}, scope)) for graph in inner.values()]
            chosen = self._changed(given, MIX)
            return [self._either([*ways, chosen]) for ways in zip(*branches, strict=True)]
        if node.op_type in ("Loop", "Scan"):
            return self._repeated(node, inner["body"], given, scope)
        plain = self._plain(node.op_type, given)
        found = [plain] * len(node.output)
        for place, (entry, at, end) in MEMORIES.get(node.op_type, {}).items():
            if place >= len(given) or not node.input[place]:
                continue
            way = f"{entry} -> {end} of the {node.op_type} {node.name or node.output[0]!r}"
            memory = self._memory(way, given[place])
            if at < len(found):
                found[at] = self._kept(memory, given[place], plain)
            if at == 1 and node.op_type in SEQUENCE_CELLS:
                last = Memory(memory.number, f"{entry} -> last Y of the {node.op_type}", False)
                found[0] = self._kept(last, given[place], plain)
        return found

    def _plain(self, operator: str, given: list[Trail]) -> Trail:
        """What an operator without a memory makes of its inputs."""
        ways, held = [], set()
        for place, trail in enumerate(given):
            price = cost(operator, place)
            if price is None:
                return self.nothing
            ways.append(trail.far + price)
            if price == MOVE:
                held |= trail.held
        far = np.min(ways, axis=0) if ways else self.nothing.far
        if operator not in MOVERS and np.isfinite(far).any():
            held.add(COMPUTED)
        return Trail(far, frozenset(held))

    def _repeated(
        self, node: onnx.NodeProto, body: onnx.GraphProto, given: list[Trail], scope: _Scope
    ) -> list[Trail]:
        """A Loop or a Scan: what it carries around goes in, through the body, and in again."""
        is_loop = node.op_type == "Loop"
        scanned = next((a.i for a in node.attribute if a.name == "num_scan_inputs"), 0)
        outer = given[:2] if is_loop else []  # how often, and whether to go on
        entries = given[2:] if is_loop else given
        carried = len(entries) - scanned
        begin, read = entries[:carried], [self._changed([e], MOVE) for e in entries[carried:]]
        named = node.input[2 if is_loop else 0 :]
        now, ends = list(begin), list(begin)
        for _ in range(carried + 1):
            inside = [*([self.nothing] * 2 if is_loop else []), *now, *read]
            local = {e.name: trail for e, trail in zip(body.input, inside, strict=True)}
            ends = self.graph(body, _Scope(local, scope))[1 if is_loop else 0 :]
            now = [self._either([old, new]) for old, new in zip(now, ends, strict=False)]
        turned = self._changed(outer, MIX)
        found = [self._either([end, turned]) for end in ends]
        for place in range(carried):
            way = f"{named[place]} carried around by the {node.op_type} {node.name or ''!r}"
            memory = self._memory(way, begin[place])
            found[place] = self._kept(memory, begin[place], found[place])
        return found

    def _memory(self, way: str, begin: Trail) -> Memory:
        memory = Memory(next(self.numbers), way)
        origins = frozenset(held for held in begin.held if isinstance(held, str))
        if not origins and np.min(begin.far, initial=np.inf) < MIX:
            # A state that is multiplied by "not a new sequence" first is still that state.
            nearest = np.flatnonzero(begin.far == begin.far.min())
            origins = (
                frozenset(self.names[place] for place in nearest) if len(nearest) == 1 else origins
            )
        self.begins.append((memory, origins))
        return memory

    def _kept(self, memory: Memory, begin: Trail, beside: Trail) -> Trail:
        """A memory at its end: near to what it began as, whatever else went into it."""
        return Trail(np.minimum(begin.far + 1, beside.far), beside.held | {memory})

    def _changed(self, trails: list[Trail], price: int) -> Trail:
        if not trails:
            return self.nothing
        return Trail(np.min([trail.far + price for trail in trails], axis=0))

    def _either(self, trails: Iterable[Trail]) -> Trail:
        trails = list(trails)
        held = frozenset[str | Memory | _Computed]().union(*(trail.held for trail in trails))
        return Trail(np.min([trail.far for trail in trails], axis=0), held)

    def _table(self, node: onnx.NodeProto, sizes: Mapping[str, list[int]], scope: _Scope) -> None:
        """Take note of inputs that choose rows of a constant."""
        if node.op_type != "Gather" or not sizes.get(node.input[0]):
            return
        axis = next((a.i for a in node.attribute if a.name == "axis"), 0)
        held = scope.find(node.input[1], self.nothing).held
        if len(held) == 1:
            (name,) = held
            if isinstance(name, str):
                self.tables[name].append(int(sizes[node.input[0]][axis]))


def _constant_dims(node: onnx.NodeProto) -> list[int]:
    return next((list(a.t.dims) for a in node.attribute if a.HasField("t")), [])


def trace(model: onnx.ModelProto, names: list[str]) -> Flow:
    """Follow the inputs `names` through the graph."""
    walk = _Walk(names)
    trails = {}
    for place, name in enumerate(names):
        far = np.full(len(names), np.inf)
        far[place] = 0
        trails[name] = Trail(far, frozenset({name}))
    ends = dict(
        zip(
            [entry.name for entry in model.graph.output],
            walk.graph(model.graph, _Scope(trails)),
            strict=True,
        )
    )
    begins = {memory.number: origins for memory, origins in walk.begins}
    memories: dict[tuple[str, str], Memory] = {}
    for output, trail in ends.items():
        for memory in sorted(
            (held for held in trail.held if isinstance(held, Memory)),
            key=lambda memory: (memory.is_whole, -memory.number),
        ):
            memories |= {(name, output): memory for name in begins[memory.number]}
    return Flow(
        {
            (name, output): int(trail.far[place])
            for output, trail in ends.items()
            for place, name in enumerate(names)
            if np.isfinite(trail.far[place])
        },
        frozenset(
            (name, output)
            for output, trail in ends.items()
            if len(trail.held) > 1
            for name in trail.held
            if isinstance(name, str)
        ),
        memories,
        {name: min(sizes) for name, sizes in walk.tables.items()},
    )
